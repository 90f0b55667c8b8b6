"""`python -m edge.video`: the action units of a photo, a folder of photos or a video."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge.analyzer import FaceAnalyzer
from edge.annotators import FaceAnnotator
from edge.face_mesh import FaceMesh
from edge.runtime import AUModel
from edge.sinks import CsvSink, ImageSink, JsonLinesSink, VideoSink
from edge.sources import ImageSource, LiveSource, Source, open_source
from tfau.core.errors import run_cli

_EPILOG = """
OUT gets NAME.csv with OpenFace's column names, where NAME is INPUT without its suffix, and the
annotated picture or video: NAME.png for a photo, one PNG for each photo of a folder, NAME.mp4 for
a video (NAME.avi where PyAV is not installed; `pip install 'tfau[video]'` brings it). A frame
without a face is a row with success 0. The files appear only when all is done.
"""


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that every edge command line has."""
    parser.add_argument("--model", metavar="M.tflite", help="made by `python -m export runs/NAME`")
    parser.add_argument("--max-faces", type=int, default=1, help="the surest first (default 1)")
    parser.add_argument("--threads", type=int, default=1, help="for each network (default 1)")


def load_model(arguments: argparse.Namespace) -> AUModel:
    """Loads the model that the command line names.

    Raises:
        ValueError: If it names none, or not a usable number of threads.
        BundleError: If the file is no model of ours.
    """
    if arguments.model is None:
        raise ValueError(
            "`--model` must name a model file. Received: none. `python -m tfau.train` trains a "
            "network and `python -m export runs/NAME` makes the file."
        )
    if arguments.threads < 1:
        raise ValueError(f"`--threads` must be at least 1. Received: --threads={arguments.threads}")
    return AUModel(arguments.model, threads=arguments.threads)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command.

    Args:
        argv: Words after the program's name; those of the command line if None.

    Raises:
        ValueError: If an argument makes no sense.
        BundleError: If the model cannot be used.
        SourceError: If the input cannot be read.
    """
    parser = argparse.ArgumentParser("python -m edge.video", description=__doc__, epilog=_EPILOG)
    parser.add_argument("input", help="photo, folder of photos, or video")
    add_model_arguments(parser)
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="folder to write to")
    parser.add_argument(
        "--json", action="store_true", help="also write NAME.jsonl, with every point and both sides"
    )
    arguments = parser.parse_args(argv)

    model, folder = load_model(arguments), Path(arguments.output)
    mesh = FaceMesh(max_faces=arguments.max_faces, threads=arguments.threads)
    with mesh, open_source(arguments.input) as source:
        if isinstance(source, LiveSource):
            raise ValueError(
                "`input` must be a photo, a folder or a video file. Received: "
                f"input={arguments.input}. `python -m edge.camera` reads cameras and streams."
            )
        with _folder(folder):
            analyze(source, FaceAnalyzer(model, mesh), folder, json=arguments.json)


def analyze(source: Source, analyzer: FaceAnalyzer, folder: Path, *, json: bool = False) -> None:
    """Reads a whole source, writes what is in it, and says so.

    Args:
        source: Photos or a video.
        analyzer: Reads the frames.
        folder: Where the files go, see `--help`. It must exist.
        json: Whether to write JSON lines as well.

    Raises:
        SourceError: If a frame cannot be read. No file is left then.
        ValueError: If a file would replace a part of the input.
    """
    bundle, is_photos = analyzer.model.bundle, isinstance(source, ImageSource)
    annotator = FaceAnnotator(bundle.aus, bundle.threshold)
    csv_path, json_path = folder / f"{source.stem}.csv", folder / f"{source.stem}.jsonl"
    pictures = _pictures(source, folder)
    if clash := {path.resolve() for path in pictures} & {path.resolve() for path in source.paths}:
        raise ValueError(
            f"`--output` must not be the folder of the input: {clash.pop()} would be replaced. "
            f"Received: --output={folder}"
        )
    done = faces = 0
    start = time.monotonic()
    with contextlib.ExitStack() as sinks:
        table = CsvSink(csv_path, bundle.aus, bundle.threshold, with_file=is_photos)
        sinks.enter_context(table)
        lines = sinks.enter_context(JsonLinesSink(json_path)) if json else None
        video = None if is_photos else sinks.enter_context(VideoSink(pictures[0], source.rate))
        for frame in source:
            readings = analyzer.analyze(frame.image, frame.timestamp_ms)
            picture = annotator.annotate(frame.image, readings)
            table.append(frame, readings)
            if lines:
                lines.append(frame, readings)
            if video:
                video.append(picture, frame.timestamp_ms)
            else:
                sinks.enter_context(ImageSink(pictures[frame.index])).append(picture)
            done, faces = done + 1, faces + bool(readings)
            if sys.stderr.isatty():
                total = f" of {source.count}" if source.count else ""
                speed = done / (time.monotonic() - start)
                print(f"\rframe {done}{total}, {speed:.1f} a second ", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    written = [csv_path, *([json_path] if json else []), *pictures]
    more = f" and {len(written) - 4} more" if len(written) > 4 else ""
    frames = f"{done} frame{'s' * (done != 1)}"
    print(f"{frames}, a face in {faces}: {', '.join(map(str, written[:4]))}{more}")


def _pictures(source: Source, folder: Path) -> list[Path]:
    """Names the annotated video, or the annotated picture of each photo."""
    if not isinstance(source, ImageSource):
        return [folder / f"{source.stem}{VideoSink.suffix()}"]
    stems = Counter(path.stem for path in source.paths)
    # `a.jpg` beside `a.png`: only the whole name tells them apart.
    names = [path.stem if stems[path.stem] == 1 else path.name for path in source.paths]
    return [folder / f"{name}.png" for name in names]


@contextlib.contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """Makes the folder, and takes it away again if nothing comes to lie in it."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"`--output` must be a folder. Received: --output={folder}")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise


if __name__ == "__main__":
    sys.exit(run_cli(main))
