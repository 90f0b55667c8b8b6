"""The arguments that the edge's command lines share, and what they make."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edge.analyzer import FaceAnalyzer
from edge.face_mesh import FaceMesh, FrontEnd
from edge.filters import ReadingFilter
from edge.mediapipe_mesh import MediaPipeMesh
from edge.pipeline import cores
from edge.runtime import AUModel
from edge.sources import read_image
from tfau.core import AUReading

FREE_MODEL = Path(__file__).parent / "models" / "tfau_free.tflite"
"""Weights that everyone may use; what they were learnt from stands in MODELS.md."""


def add_arguments(parser: argparse.ArgumentParser, *, smooth: bool) -> None:
    """Adds model, mesh and filters.

    Args:
        parser: The command's parser.
        smooth: Whether readings are smoothed unless the user says otherwise.
    """
    add_model(parser)
    parser.add_argument("--max-faces", type=int, default=1, help="the surest first (default 1)")
    parser.add_argument(
        "--threads", type=int, help="for each network (default: half of the processor's cores)"
    )
    parser.add_argument(
        "--front-end",
        choices=("litert", "mediapipe"),
        default="litert",
        help="who finds the mesh: Google's models run by us, or the mediapipe package",
    )
    parser.add_argument(
        "--fast-mesh",
        action="store_true",
        help="468 points, no irises, in a quarter of the time",
    )
    parser.add_argument(
        "--neutral",
        metavar="IMAGE|SECONDS|running",
        help="take off the person's neutral face: of a photo, of the first seconds, or the level "
        "that is seldom undercut so far",
    )
    parser.add_argument(
        "--smooth",
        action=argparse.BooleanOptionalAction,
        default=smooth,
        help=f"One-Euro filter (default: {'on' if smooth else 'off'})",
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """Adds the model."""
    parser.add_argument(
        "--model",
        metavar="M.tflite",
        default=str(FREE_MODEL),
        help="made by `python -m export runs/NAME` (default: the one that comes with tfau)",
    )


def load_model(arguments: argparse.Namespace) -> AUModel:
    """Loads the model that the command line names.

    Raises:
        ValueError: If it does not name a usable number of threads.
        BundleError: If the file is no model of ours.
    """
    if arguments.threads is not None and arguments.threads < 1:
        raise ValueError(f"`--threads` must be at least 1. Received: --threads={arguments.threads}")
    return AUModel(arguments.model, threads=threads_of(arguments))


def threads_of(arguments: argparse.Namespace) -> int:
    """Returns the number of threads for each network: mesh and model run side by side."""
    if arguments.threads:
        return int(arguments.threads)
    return max(1, cores() // 2)


def open_mesh(arguments: argparse.Namespace, *, follow: bool) -> FrontEnd:
    """Makes the front end that the command line names.

    Args:
        arguments: Of `add_arguments`.
        follow: Whether the frames are those of a video.

    Raises:
        ValueError: If the arguments contradict each other.
        MissingExtra: If mediapipe is wanted and cannot be used.
    """
    if arguments.front_end == "mediapipe":
        if arguments.fast_mesh:
            raise ValueError("`--fast-mesh` does not go with `--front-end mediapipe`.")
        return MediaPipeMesh(max_faces=arguments.max_faces, follow=follow)
    return FaceMesh(
        max_faces=arguments.max_faces,
        follow=follow,
        fast=arguments.fast_mesh,
        threads=threads_of(arguments),
    )


def make_filter(arguments: argparse.Namespace, model: AUModel) -> ReadingFilter:
    """Makes the filter that the command line describes.

    Raises:
        ValueError: If `--neutral` is neither seconds, nor `running`, nor a photo of one face.
        SourceError: If the photo cannot be read.
    """
    neutral: str | float | AUReading | None = arguments.neutral
    if arguments.neutral not in (None, "running"):
        try:
            neutral = float(arguments.neutral)
        except ValueError:
            neutral = _read_neutral(Path(arguments.neutral), model)
    return ReadingFilter(neutral, smooth=arguments.smooth)


def _read_neutral(path: Path, model: AUModel) -> AUReading:
    image = read_image(path)
    with FaceMesh(max_faces=2) as mesh:
        readings = FaceAnalyzer(model, mesh).analyze(image)
    if len(readings) != 1:
        found = "no face" if not readings else "more than one face"
        raise ValueError(f"`--neutral` must show one face. Received: {path}, with {found}.")
    return readings[0]


def settings_of(arguments: argparse.Namespace, *, without: tuple[str, ...]) -> dict[str, Any]:
    """Returns the arguments as JSON can hold them, but for some."""
    return {name: value for name, value in vars(arguments).items() if name not in without}
