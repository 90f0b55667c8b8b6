"""How many frames a second does the page read in a browser, next to Python on this machine?

Prints a table to paste: Chromium without a window, with 1 and 2 threads and with its processor made
slower, and Python; what the page weighs; with `--soak`, whether its memory stays level. Contenders
are processes of their own, held to so many cores, and take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

from tfau.bench import machine
from tfau.bench.device_contender import MESH
from tfau.bench.device_contender import Task as Native
from tfau.bench.turns import Contender, Result, contender, measure, spread
from tfau.bench.web_contender import DEFAULT_MODEL, Task, open_page, weigh, write_film
from tfau.core import EdgeBundle, SourceError
from tfau.tables import Grid

_STEPS = 30


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Adds what can be chosen."""
    command.add_argument("clip", help="photo or video of one face, e.g. docs/astronaut.jpg")
    command.add_argument("--model", default=DEFAULT_MODEL, help=".tflite (default: tfau's own)")
    command.add_argument(
        "--rounds", type=int, default=5, help="turns of each contender (default: %(default)s)"
    )
    command.add_argument(
        "--slower", type=float, default=4.0, help="for the slow processor (default: %(default)s)"
    )
    command.add_argument(
        "--soak", type=float, metavar="MINUTES", help="read a camera for so long instead"
    )


def run(args: argparse.Namespace) -> int:
    """Lets all of them read in turn, or one of them for long."""
    if args.rounds < 1:
        raise ValueError(f"`rounds` must be at least 1. Received: {args.rounds}.")
    if args.slower < 1:
        raise ValueError(f"`slower` must be at least 1. Received: {args.slower}.")
    if args.soak is not None and args.soak <= 0:
        raise ValueError(f"`soak` must be above 0 minutes. Received: {args.soak}.")
    if not Path(args.clip).is_file():
        raise SourceError(f"There is no file {args.clip}.")
    model = args.model
    EdgeBundle.read(model)
    try:
        if args.soak:
            return _soak(args.clip, model, args.soak)
        print(_race(args.clip, model, args.rounds, args.slower).markdown())
    except LookupError as why:
        raise ValueError(f"A contender stopped: {why.args[0]}.") from None
    return 0


HEADS = [
    *("reads", "threads", "frames a second", "speed, Python = 1", "ms: mesh", "crop", "network"),
    *("rest", "drawing", "first reading, s"),
]


def _race(clip: str, model: str, rounds: int, slower: float) -> Grid:
    rows = []
    for threads in (1, 2):
        tasks: list[Native | Task] = [
            Native(MESH, clip, model, threads),
            Task(clip, model, threads),
        ]
        if threads == 1:
            tasks.append(Task(clip, model, threads, slower))
        with contextlib.ExitStack() as stack:
            contenders: dict[Any, Contender] = {}
            for task in tasks:
                kind = "web" if isinstance(task, Task) else "device"
                contenders[task] = stack.enter_context(
                    contender(f"tfau.bench.{kind}_contender", dataclasses.asdict(task))
                )
            results = measure(contenders, rounds, dict.fromkeys(contenders, _STEPS))
        rows += [_row(result, results[0]) for result in results]
    raw, packed = weigh(model)
    notes = (
        f"{machine.describe()}.",
        f"Medians of {rounds} rounds of {_STEPS} frames of 640 x 480, in parentheses the range.",
        "Python reads mesh and network side by side where it has two cores, and draws nothing.",
        f"A browser loads {raw / 1e6:.1f} MB, {packed / 1e6:.1f} MB if the host packs it (gzip).",
    )
    return Grid("The page against Python", [HEADS, *rows], notes, ())


def _row(result: Result[Any], first: Result[Any]) -> list[str]:
    task, stages = result.task, result.facts["stages"]
    name = "Python"
    if isinstance(task, Task):
        name = "Chromium" if task.slower == 1 else f"Chromium, {task.slower:g} times slower"
    return [
        name,
        str(task.threads),
        spread([1 / seconds for seconds in result.seconds], digits=0),
        "1" if result is first else spread(result.ratios(first)),
        *(f"{1e3 * stages[part]:.2f}" for part in ("mesh", "crop", "network", "rest")),
        f"{1e3 * stages['drawing']:.2f}" if "drawing" in stages else "-",
        f"{result.facts['first_s']:.1f}" if "first_s" in result.facts else "-",
    ]


def _soak(clip: str, model: str, minutes: float) -> int:
    """Reads a camera that shows the clip; tells what the page holds at each minute."""
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "camera.y4m"
        write_film(clip, film)
        camera = (
            *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
            f"--use-file-for-fake-video-capture={film}",
        )
        with open_page(model, 1, camera) as (page, _):
            devtools = page.context.new_cdp_session(page)
            page.locator("#camera").click()
            start, held = time.monotonic(), []
            while time.monotonic() - start < 60 * minutes:
                time.sleep(min(60.0, 60 * minutes / 3))
                devtools.send("HeapProfiler.collectGarbage")
                heap = devtools.send("Runtime.getHeapUsage")["usedSize"] / 1e6
                held.append(heap)
                minute, frames = (time.monotonic() - start) / 60, page.evaluate("tfau.frames")
                print(f"minute {minute:.1f}: heap {heap:.1f} MB, {frames} frames read", flush=True)
    early = held[min(1, len(held) - 1)]
    print(f"at the end {held[-1] / early - 1:+.1%} against minute 2")
    return 0 if held[-1] <= 1.1 * early else 1
