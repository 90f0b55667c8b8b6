"""How many frames a second does this device read, and where does the time go?

Prints a table to paste: mesh alone and mesh with models, for numbers of faces and cores, in frames
of 640 x 480. Contenders are processes of their own, held to so many cores, and take turns. For
owners of boards: the base installation is enough.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from tfau.bench import machine
from tfau.bench.device_contender import FAST_MESH, MEDIAPIPE, MESH, Task
from tfau.bench.turns import Contender, Result, contender, measure, spread
from tfau.core import EdgeBundle, SourceError
from tfau.tables import Grid

_TURN_SECONDS = 1.0


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Adds what can be chosen."""
    command.add_argument(
        "clip", help="photo or video of one face, e.g. docs/astronaut.jpg of the source"
    )
    command.add_argument("models", nargs="*", type=Path, help=".tflite of `tfau export`")
    command.add_argument("--cores", default="1,2", help="numbers of cores (default: %(default)s)")
    command.add_argument(
        "--faces", default="1,2,5", help="numbers of faces in a frame (default: %(default)s)"
    )
    command.add_argument(
        "--rounds", type=int, default=5, help="turns of each contender (default: %(default)s)"
    )
    command.add_argument(
        "--mediapipe", action="store_true", help="also the mediapipe package, if it is installed"
    )


def run(args: argparse.Namespace) -> int:
    """Lets all of them read in turn."""
    cores, faces = (_numbers(name, getattr(args, name)) for name in ("cores", "faces"))
    if args.rounds < 1:
        raise ValueError(f"`rounds` must be at least 1. Received: {args.rounds}.")
    if not Path(args.clip).is_file():
        raise SourceError(f"There is no file {args.clip}.")
    for model in args.models:
        EdgeBundle.read(model)
    rows: list[list[str]] = []
    missing: dict[str, None] = {}
    for count, number in itertools.product(cores, faces):
        with contextlib.ExitStack() as stack:
            contenders: dict[Task, Contender] = {}
            for task in _tasks(args, count, number):
                try:
                    words = dataclasses.asdict(task)
                    contenders[task] = stack.enter_context(
                        contender("tfau.bench.device_contender", words)
                    )
                except LookupError as why:
                    if task.front_end != MEDIAPIPE:
                        raise ValueError(f"{_name(task)} cannot be run: {why.args[0]}.") from None
                    missing[f"mediapipe is missing: {why.args[0]}."] = None
            try:
                once = measure(contenders, 1, dict.fromkeys(contenders, 3))
                steps = {
                    one.task: max(1, math.ceil(_TURN_SECONDS / one.seconds[0])) for one in once
                }
                results = measure(contenders, args.rounds, steps)
            except LookupError as why:
                raise ValueError(f"A contender stopped: {why.args[0]}.") from None
        rows += table_rows(results)
    notes = (
        f"{machine.describe()}.",
        f"Medians of {args.rounds} rounds, in parentheses the range.",
        "Faces are followed from frame to frame. With a model it is `edge.video` without files.",
        "Memory is the most that the process ever held, the clip included.",
        *missing,
    )
    print(Grid("Frames a second", [HEADS, *rows], notes, ()).markdown())
    return 0


HEADS = [
    *("reads", "cores", "faces", "frames a second", "speed, mesh = 1"),
    *("ms: mesh", "crop", "network", "rest", "peak MB"),
]


def table_rows(results: Sequence[Result[Task]]) -> list[list[str]]:
    """Lays out a row for each result; the first is what all are set against."""
    rows = []
    for result in results:
        task, stages = result.task, result.facts["stages"]
        parts = ["mesh", *(("crop", "network", "rest") if task.model else ())]
        times = [f"{1e3 * stages[part]:.2f}" for part in parts]
        found = result.facts["faces"]
        rows.append(
            [
                _name(task),
                str(task.threads),
                str(task.faces) if found == task.faces else f"{task.faces}, found {found}",
                spread([1 / seconds for seconds in result.seconds], digits=0),
                spread(result.ratios(results[0])) if result is not results[0] else "1",
                *times,
                *["-"] * (4 - len(times)),
                f"{result.memory / 1e6:.0f}",
            ]
        )
    return rows


def _tasks(args: argparse.Namespace, threads: int, faces: int) -> Iterator[Task]:
    mesh = Task(MESH, args.clip, threads=threads, faces=faces)
    yield mesh
    if args.mediapipe:
        yield dataclasses.replace(mesh, front_end=MEDIAPIPE)
    yield dataclasses.replace(mesh, front_end=FAST_MESH)
    for model in args.models:
        yield dataclasses.replace(mesh, model=str(model))


def _name(task: Task) -> str:
    return f"{task.front_end} + {Path(task.model).name}" if task.model else task.front_end


def _numbers(name: str, text: str) -> list[int]:
    words = text.split(",")
    if not all(word.isdecimal() and int(word) for word in words):
        raise ValueError(f"`{name}` must be numbers from 1 on, such as 1,2. Received: {text!r}.")
    return list(dict.fromkeys(int(word) for word in words))
