"""`python -m edge.crop`: aligned crops of the faces in photos and videos, for a data set."""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from edge.face_mesh import FaceMesh
from edge.sources import IMAGE_SUFFIXES, ImageSource, VideoSource, read_image
from edge.tracks import Tracker
from edge.warp import crop_face
from tfau.core import FaceAligner, SourceError
from tfau.core.errors import run_cli
from tfau.core.files import whole_file, whole_folder

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm", ".wmv")
_COLUMNS = ("crop", "source", "frame", "timestamp", "face_id", "confidence")
_EPILOG = """
OUT gets a folder for each input with the crops as PNG and `meshes.npy` (N, 478, 3), float32, in px
of the crop; and `crops.csv`, a row for each crop. Inputs that are there already are not done again.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command.

    Args:
        argv: Words after the program's name; those of the command line if None.

    Raises:
        ValueError: If an argument makes no sense.
        SourceError: If there is nothing to read.
    """
    parser = argparse.ArgumentParser("python -m edge.crop", description=__doc__, epilog=_EPILOG)
    parser.add_argument(
        "inputs", nargs="+", help="photos, videos, and folders of them, at any depth"
    )
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="folder to write to")
    parser.add_argument("--size", type=int, default=256, help="side of a crop, px (default 256)")
    parser.add_argument("--max-faces", type=int, default=1, help="the surest first (default 1)")
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="every Nth frame of a video"
    )
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count(), help="(default: all cores)"
    )
    arguments = parser.parse_args(argv)
    for name in ("max_faces", "every", "processes"):
        if getattr(arguments, name) < 1:
            raise ValueError(f"`--{name.replace('_', '-')}` must be at least 1.")
    FaceAligner(arguments.size)
    files = _files(arguments.inputs)
    output = Path(arguments.output)
    if output.exists() and not output.is_dir():
        raise ValueError(f"`--output` must be a folder. Received: --output={output}")
    output.mkdir(parents=True, exist_ok=True)

    work = partial(
        crop_file,
        output=output,
        size=arguments.size,
        max_faces=arguments.max_faces,
        every=arguments.every,
    )
    jobs = [(path, name) for name, path in files.items() if not (output / name).is_dir()]
    # Forked children would share the runtime's threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.processes, context, initializer=_deaf) as pool:
        futures = [pool.submit(work, path, name) for path, name in jobs]
        try:
            for done, future in enumerate(futures, 1):
                try:
                    future.result()
                except SourceError as error:
                    print(f"tfau: {error} It is left out.", file=sys.stderr)
                if sys.stderr.isatty():
                    print(f"\r{done} of {len(jobs)} ", end="", file=sys.stderr)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    count = _join_tables(output)
    print(f"{count} crops of {len(files)} files: {output / 'crops.csv'}")


def crop_file(
    path: Path, name: str, *, output: Path, size: int, max_faces: int, every: int
) -> None:
    """Writes the crops of one photo or video into a folder of their own.

    Args:
        path: The file.
        name: Of the folder to make in `output`.
        output: Where it lies.
        size: Side of a crop, px.
        max_faces: Most faces of a frame.
        every: Of how many frames one is taken.

    Raises:
        SourceError: If the file cannot be read; nothing is written then.
    """
    aligner, is_photo = FaceAligner(size), path.suffix.lower() in IMAGE_SUFFIXES
    if is_photo:
        read_image(path)  # one sentence of our own for a photo that cannot be read
    source = ImageSource([path], path.stem) if is_photo else VideoSource(path)
    rows: list[list[str | int]] = []
    meshes = []
    tracker = Tracker()
    (output / name).parent.mkdir(parents=True, exist_ok=True)
    with (
        whole_folder(output / name) as folder,
        source,
        FaceMesh(max_faces=max_faces, follow=not is_photo) as mesh,
    ):
        folder.mkdir()
        for frame in source:
            if frame.index % every:
                continue
            faces = mesh.detect(frame.image, frame.timestamp_ms)
            for face in tracker.update(faces, frame.timestamp_ms):
                matrix = aligner.matrix(face.mesh)
                crop = crop_face(frame.image, matrix, size)
                file = f"{frame.index + 1:06d}_{face.track_id}.png"
                _, data = cv2.imencode(".png", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
                (folder / file).write_bytes(data.tobytes())
                moved = face.mesh * np.float32(np.hypot(*matrix[:, 0]))
                moved[:, :2] = FaceAligner.transform(face.mesh[:, :2], matrix)
                meshes.append(moved)
                seconds, presence = f"{frame.timestamp_ms / 1000:.3f}", f"{face.confidence:.3f}"
                crop_name = f"{name}/{file}"
                rows.append(
                    [crop_name, str(path), frame.index + 1, seconds, face.track_id, presence]
                )
        np.save(folder / "meshes.npy", np.array(meshes, np.float32).reshape(-1, 478, 3))
        with (folder / "crops.csv").open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows([_COLUMNS, *rows])


def _files(inputs: Sequence[str]) -> dict[str, Path]:
    """Finds the files to read, by the name of their folder of crops."""
    suffixes = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)
    files: dict[str, Path] = {}
    for given in map(Path, inputs):
        if given.is_dir():
            found = [
                path
                for path in sorted(given.rglob("*"))
                if path.suffix.lower() in suffixes and not path.name.startswith(".")
            ]
        elif given.is_file():
            found = [given]
        else:
            raise SourceError(f"There is no file {given}.")
        for path in found:
            name = path.relative_to(given).as_posix() if given.is_dir() else path.name
            if files.setdefault(name, path) != path:
                raise ValueError(f"{path} and {files[name]} would share a folder of crops.")
    if not files:
        raise SourceError(f"There is no photo and no video in {', '.join(inputs)}.")
    return files


def _join_tables(output: Path) -> int:
    """Joins the tables of all folders; returns the number of crops."""
    rows = []
    for path in sorted(output.rglob("crops.csv")):
        if path.parent != output:
            with path.open(newline="", encoding="utf-8") as stream:
                rows += list(csv.reader(stream))[1:]
    with (
        whole_file(output / "crops.csv") as path,
        path.open("w", newline="", encoding="utf-8") as stream,
    ):
        csv.writer(stream, lineterminator="\n").writerows([_COLUMNS, *rows])
    return len(rows)


def _deaf() -> None:
    """Leaves Ctrl-C to the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(run_cli(main))
