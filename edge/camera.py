"""`python -m edge.camera`: the action units of a live camera, a stream, or a file as it plays."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2

from edge.analyzer import FaceAnalyzer
from edge.annotators import FaceAnnotator, write_note
from edge.arguments import add_arguments, load_model, make_filter, open_mesh
from edge.pipeline import yield_often
from edge.publish import open_publisher
from edge.sinks import CsvSink, VideoSink, json_line
from edge.sources import ImageSource, LiveSource, Source, open_source
from edge.stream import Answer, ReadingStream
from tfau.core.errors import run_cli

_WINDOW = "tfau"
# Can be resized, keeps its proportions, has no tool bar.
_WINDOW_STYLE = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
_EPILOG = """
In the window, q or Esc ends the program; in a terminal, Ctrl-C does. Nothing is stored unless
`--record` says so, and nothing is sent unless `--publish` does.
"""

Take = Callable[[Answer], None]


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
        "--source",
        default="0",
        help="number of a camera, `picamera`, URL, or file (default: camera 0)",
    )
    add_arguments(parser, smooth=True)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="read every Nth frame")
    parser.add_argument(
        "--headless", action="store_true", help="print a line of JSON for each frame, no window"
    )
    parser.add_argument(
        "--record", metavar="FOLDER", help="store what the camera sees (video) and reads (CSV)"
    )
    parser.add_argument(
        "--publish",
        metavar="URL",
        help="send each reading to osc://HOST:PORT/PREFIX or mqtt://HOST:PORT/TOPIC",
    )
    arguments = parser.parse_args(argv)

    yield_often()
    model = load_model(arguments)
    filters = make_filter(arguments, model)
    if not arguments.headless:
        _open_window()
    with contextlib.ExitStack() as stack:
        takes: list[Take] = []
        if arguments.publish:
            publisher = stack.enter_context(open_publisher(arguments.publish))
            takes.append(lambda answer: publisher.send(answer.frame, answer.readings))
        source = stack.enter_context(open_source(arguments.source))
        follow = not isinstance(source, ImageSource)
        mesh = stack.enter_context(open_mesh(arguments, follow=follow))
        analyzer = FaceAnalyzer(model, mesh)
        stream = ReadingStream(analyzer, filters, every=arguments.every)
        if arguments.record:
            takes.append(stack.enter_context(_recorder(Path(arguments.record), analyzer, source)))
        try:
            if arguments.headless:
                _print(source, stream, takes)
            else:
                _show(source, stream, takes)
        except KeyboardInterrupt:
            return  # the usual way to end a camera is no error


@contextlib.contextmanager
def _recorder(folder: Path, analyzer: FaceAnalyzer, source: Source):  # type: ignore[no-untyped-def]
    """Opens video and table, named after the time; gives what stores an answer in both."""
    folder.mkdir(parents=True, exist_ok=True)
    name = time.strftime("camera-%Y%m%d-%H%M%S")
    threshold = analyzer.model.bundle.threshold
    table = CsvSink(folder / f"{name}.csv", analyzer.aus, threshold, sides=True)
    video = VideoSink(folder / f"{name}{VideoSink.suffix()}", source.rate)

    def take(answer: Answer) -> None:
        table.append(answer.frame, answer.readings)
        video.append(answer.frame.image, answer.frame.timestamp_ms)

    with table, video:
        # Whatever ends a recording, what was recorded is whole: it is closed as if all were well.
        stopped: BaseException | None = None
        try:
            yield take
        except (KeyboardInterrupt, OSError) as error:
            stopped = error
    if stopped is not None:
        raise stopped


class _Gauge:
    """Measures how fast frames come and how old they are, over about ten of them."""

    def __init__(self, source: Source) -> None:
        self._source, self._before = source, time.monotonic()
        self._speed = self._age_ms = 0.0

    def __call__(self, answer: Answer) -> str:
        """Takes a frame that has just been read and says how it goes."""
        now = time.monotonic()
        speed = 1 / max(now - self._before, 1e-3)
        self._speed, self._before = (0.9 * self._speed + 0.1 * speed if self._speed else speed), now
        note = f"{self._speed:.0f} frames a second"
        if isinstance(self._source, LiveSource):
            age_ms = (now - self._source.clock_s) * 1000 - answer.frame.timestamp_ms
            self._age_ms = 0.9 * self._age_ms + 0.1 * age_ms if self._age_ms else age_ms
            note += f", {self._age_ms:.0f} ms behind, {answer.dropped} dropped"
        return note


def _print(source: Source, stream: ReadingStream, takes: Sequence[Take]) -> None:
    gauge = _Gauge(source)
    for answer in stream.read(source):
        print(json_line(answer.frame, answer.readings), flush=True)
        for take in takes:
            take(answer)
        note = gauge(answer)
        if sys.stderr.isatty():
            print(f"\r{note} ", end="", file=sys.stderr)


def _show(source: Source, stream: ReadingStream, takes: Sequence[Take] = ()) -> None:
    analyzer, gauge = stream.analyzer, _Gauge(source)
    annotator = FaceAnnotator(analyzer.aus, analyzer.model.bundle.threshold)
    start, first = time.monotonic(), True
    for answer in stream.read(source):
        frame = answer.frame
        picture = annotator.annotate(frame.image, answer.readings)
        for take in takes:
            take(answer)
        write_note(picture, gauge(answer))
        if first:
            cv2.resizeWindow(_WINDOW, picture.shape[1], picture.shape[0])
            first = False
        cv2.imshow(_WINDOW, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        # A file plays no faster than it was filmed, and a photo stays until a key is pressed.
        due = float("inf") if isinstance(source, ImageSource) else start + frame.timestamp_ms / 1000
        if isinstance(source, LiveSource):
            due = 0.0
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
