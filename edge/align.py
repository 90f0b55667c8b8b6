"""`python -m edge.align REF IMAGES... -o OUT`: turns and moves photos onto a reference face."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.face_mesh import FaceMesh
from edge.sinks import ImageSink
from edge.sources import ImageSource, read_image
from tfau.core.align import STABLE_VERTICES, FaceAligner, procrustes
from tfau.core.errors import run_cli
from tfau.core.files import whole_file


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command.

    Args:
        argv: Words after the program's name; those of the command line if None.

    Raises:
        ValueError: If the reference shows no face, or an output would replace an input.
        SourceError: If a picture cannot be read.
    """
    parser = argparse.ArgumentParser(
        "python -m edge.align",
        description=__doc__,
        epilog="Every picture becomes as large as the reference. landmarks.csv holds the 468 mesh "
        "points of each in its new place; what had no face is named and left out.",
    )
    parser.add_argument("reference", type=Path, help="photo whose face the others are laid onto")
    parser.add_argument("images", type=Path, nargs="+", help="photos, or folders of photos")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--points",
        choices=("stable", "all"),
        default="stable",
        help="what is laid onto each other: eye corners, nose bridge and temples, which no "
        "expression moves, or the whole mesh (stable)",
    )
    parser.add_argument(
        "--scale",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also make faces equally large (default: on)",
    )
    arguments = parser.parse_args(argv)
    out: Path = arguments.output
    if out.exists() and not out.is_dir():
        raise ValueError(f"`--output` must be a folder. Received: {out}")
    paths = [
        path
        for image in arguments.images
        for path in (ImageSource.of_folder(image).paths if image.is_dir() else [image])
    ]
    targets = [out / f"{path.stem}.png" for path in paths]
    for path, target in zip(paths, targets, strict=True):
        if target.resolve() in {p.resolve() for p in (*paths, arguments.reference)}:
            raise ValueError(f"{path} would be replaced; choose another --output.")
        if targets.count(target) > 1:
            raise ValueError(
                f"Two pictures are called {path.stem}; align them one after the other."
            )
    chosen = STABLE_VERTICES if arguments.points == "stable" else list(range(468))
    reference = read_image(arguments.reference)
    with FaceMesh(max_faces=1) as mesh:
        faces = mesh.detect(reference)
        if not faces:
            raise ValueError(f"{arguments.reference} shows no face.")
        goal = faces[0].mesh[chosen, :2]
        out.mkdir(parents=True, exist_ok=True)
        rows, without = [], 0
        for path, target in zip(paths, targets, strict=True):
            image = read_image(path)
            found = mesh.detect(image)
            if not found:
                print(f"tfau: {path} shows no face. It is left out.", file=sys.stderr)
                without += 1
                continue
            matrix = similarity(found[0].mesh[chosen, :2], goal, scale=arguments.scale)
            moved = cv2.warpAffine(image, matrix, reference.shape[1::-1], flags=cv2.INTER_LINEAR)
            with ImageSink(target) as file:
                file.append(np.asarray(moved, np.uint8))
            points = FaceAligner.transform(found[0].mesh[:468, :2], matrix)
            rows.append([target.name, *np.round(points.ravel(), 3).tolist()])
    table = out / "landmarks.csv"
    with whole_file(table) as part, part.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["file", *(f"{axis}_{i}" for i in range(468) for axis in "xy")])
        writer.writerows(rows)
    left_out = f", {without} without a face" if without else ""
    print(f"{len(rows)} of {len(paths)} aligned{left_out}: {out}")


def similarity(
    source: npt.NDArray[np.floating], target: npt.NDArray[np.floating], *, scale: bool = True
) -> npt.NDArray[np.float64]:
    """Finds the turn, shift and, if wanted, size that carry points onto others; never a mirroring.

    Args:
        source: (N, 2) points.
        target: (N, 2) points.
        scale: Whether sizes are made equal.

    Returns:
        (2, 3) matrix.
    """
    size, rotation, shift = procrustes(source, target)
    if not scale:
        size, shift = 1.0, target.mean(axis=0) - rotation @ source.mean(axis=0)
    return np.hstack([size * rotation, np.asarray(shift)[:, None]])


if __name__ == "__main__":
    sys.exit(run_cli(main))
