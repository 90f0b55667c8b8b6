"""`python -m edge.camera`: the action units of a live camera, a stream, or a file as it plays."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

import cv2

from edge.analyzer import FaceAnalyzer
from edge.annotators import FaceAnnotator, write_note
from edge.face_mesh import FaceMesh
from edge.sinks import json_line
from edge.sources import ImageSource, Source, open_source
from edge.video import add_model_arguments, load_model
from tfau.core.errors import run_cli

_WINDOW = "tfau"
# Can be resized, keeps its proportions, has no tool bar.
_WINDOW_STYLE = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
_EPILOG = "In the window, q or Esc ends the program; in a terminal, Ctrl-C does."


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command until the source ends or the user does.

    Args:
        argv: Words after the program's name; those of the command line if None.

    Raises:
        ValueError: If an argument makes no sense.
        BundleError: If the model cannot be used.
        SourceError: If the source cannot be read.
        OSError: If there is no display for the window.
    """
    parser = argparse.ArgumentParser("python -m edge.camera", description=__doc__, epilog=_EPILOG)
    parser.add_argument(
        "--source", default="0", help="number of a camera, URL, or file (default: camera 0)"
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--headless", action="store_true", help="print a line of JSON for each frame, no window"
    )
    arguments = parser.parse_args(argv)

    model = load_model(arguments)
    if not arguments.headless:
        _open_window()
    mesh = FaceMesh(max_faces=arguments.max_faces, threads=arguments.threads)
    with mesh, open_source(arguments.source) as source:
        analyzer = FaceAnalyzer(model, mesh)
        try:
            if arguments.headless:
                _print(source, analyzer)
            else:
                _show(source, analyzer)
        except KeyboardInterrupt:
            return  # the usual way to end a camera is no error


def _print(source: Source, analyzer: FaceAnalyzer) -> None:
    for frame in source:
        readings = analyzer.analyze(frame.image, frame.timestamp_ms)
        print(json_line(frame, readings), flush=True)


def _show(source: Source, analyzer: FaceAnalyzer) -> None:
    bundle = analyzer.model.bundle
    annotator = FaceAnnotator(bundle.aus, bundle.threshold)
    start = before = time.monotonic()
    speed = 0.0
    for frame in source:
        readings = analyzer.analyze(frame.image, frame.timestamp_ms)
        picture = annotator.annotate(frame.image, readings)
        now = time.monotonic()
        # A running mean over about ten frames: the figure can be read while it changes.
        current = 1 / max(now - before, 1e-3)
        speed, before = (0.9 * speed + 0.1 * current if speed else current), now
        write_note(picture, f"{speed:.0f} frames a second")
        if frame.index == 0:
            cv2.resizeWindow(_WINDOW, picture.shape[1], picture.shape[0])
        cv2.imshow(_WINDOW, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        # A file plays no faster than it was filmed, and a photo stays until a key is pressed.
        due = float("inf") if isinstance(source, ImageSource) else start + frame.timestamp_ms / 1000
        if not _wait_until(due):
            return


def _wait_until(due: float) -> bool:
    """Keeps the window alive until a monotonic time; False when the user wants to stop."""
    while True:
        left_ms = min((due - time.monotonic()) * 1000, 50.0)
        key = cv2.waitKey(max(1, round(left_ms))) & 0xFF
        if key in (ord("q"), 27) or cv2.getWindowProperty(_WINDOW, cv2.WND_PROP_VISIBLE) < 1:
            return False
        if (key != 0xFF and due == float("inf")) or time.monotonic() >= due:
            return True


def _open_window() -> None:
    """Opens the window before anything else is started.

    Raises:
        OSError: If there is no display, or an OpenCV that cannot draw on one.
    """
    problem = OSError("There is no display to show a window on; `--headless` prints JSON instead.")
    # Without this check Qt aborts the whole process, which Python cannot catch.
    if sys.platform == "linux" and not (os.getenv("DISPLAY") or os.getenv("WAYLAND_DISPLAY")):
        raise problem
    try:
        cv2.namedWindow(_WINDOW, _WINDOW_STYLE)
    except cv2.error:
        raise problem from None


if __name__ == "__main__":
    sys.exit(run_cli(main))
