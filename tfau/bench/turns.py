"""Processes that take turns: what else the machine does hits all, and ratios are of neighbours."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from tfau.bench.machine import EnergyMeter

Task = TypeVar("Task")

WARM_UP = 2


@dataclass(frozen=True)
class Result(Generic[Task]):
    """What a contender did.

    Args:
        task: What it had to do.
        seconds: Of a step, a number per round.
        memory: Most that its process ever held, bytes.
        facts: What it said of itself.
        joules: That the processor took for a step, a number per round; empty if not known.
    """

    task: Task
    seconds: tuple[float, ...]
    memory: float
    facts: Mapping[str, Any] = field(default_factory=dict)
    joules: tuple[float, ...] = ()

    def ratios(self, other: Result[Any]) -> list[float]:
        """Says how many times as fast as another this was, round by round."""
        return [theirs / ours for ours, theirs in zip(self.seconds, other.seconds, strict=True)]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Writes a median and in parentheses its range."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


class Contender:
    """Talks with the process of a contender.

    Args:
        process: What was started.
        said: What it writes on stderr.

    Attributes:
        facts: What it said of itself.

    Raises:
        LookupError: If it has ended.
    """

    def __init__(self, process: subprocess.Popen[str], said: IO[str]) -> None:
        self.process, self.said = process, said
        self.facts: dict[str, Any] = self._answer()

    def __call__(self, steps: int) -> tuple[float, float]:
        """Does steps; returns the seconds of one, and the most memory it ever held, bytes."""
        assert self.process.stdin  # noqa: S101
        print(steps, file=self.process.stdin, flush=True)
        seconds, memory = self._answer()
        return seconds, memory

    def _answer(self) -> Any:
        assert self.process.stdout  # noqa: S101
        if line := self.process.stdout.readline():
            return json.loads(line)
        self.said.seek(0)
        lines = self.said.read().split("\n")
        raise LookupError(next((line for line in reversed(lines) if line.strip()), "it stopped"))


@contextlib.contextmanager
def contender(module: str, task: Mapping[str, Any], **environment: str) -> Iterator[Contender]:
    """Starts a contender, and ends it on leaving.

    Args:
        module: Calls `serve`.
        task: What to tell it.
        **environment: Variables that it gets besides ours.

    Yields:
        The contender, ready.

    Raises:
        LookupError: If it cannot run here; says why.
    """
    words, pipe = [sys.executable, "-m", module, json.dumps(task)], subprocess.PIPE
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            words, stdin=pipe, stdout=pipe, stderr=said, text=True, env=os.environ | environment
        ) as process,
    ):
        try:
            yield Contender(process, said)
        finally:
            process.kill()


def measure(
    contenders: Mapping[Task, Contender],
    rounds: int,
    steps: Mapping[Task, int],
    meter: EnergyMeter | None = None,
) -> list[Result[Task]]:
    """Lets contenders take turns.

    Args:
        contenders: By their tasks.
        rounds: Turns of each.
        steps: Steps in a turn of each.
        meter: Reads the energy that a turn takes.

    Raises:
        LookupError: If one of them stops; says why.
    """
    turns: dict[Task, list[tuple[float, float]]] = {task: [] for task in contenders}
    joules: dict[Task, list[float]] = {task: [] for task in contenders}
    for _ in range(rounds):
        for task, runner in contenders.items():
            before = meter.read() if meter else ()
            turns[task].append(runner(steps[task]))
            if meter and before:
                joules[task].append(meter.joules_since(before) / steps[task])
    return [
        Result(
            task,
            tuple(seconds for seconds, _ in turns[task]),
            turns[task][-1][1],
            runner.facts,
            tuple(joules[task]),
        )
        for task, runner in contenders.items()
    ]


def serve(make: Callable[[dict[str, Any]], tuple[Callable[[], object], dict[str, Any]]]) -> None:
    """Is a contender: does what is asked on stdin, line by line, until it ends.

    It is started with a task in JSON, and answers in JSON: a line when it is ready, then one for
    each number of steps that it reads.

    Args:
        make: Makes of the task a step, and what to say of it.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print is no answer
    step, facts = make(json.loads(sys.argv[1]))
    for _ in range(WARM_UP):
        step()
    print(json.dumps(facts), file=answers, flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            step()
        seconds = (time.perf_counter() - started) / int(line)
        print(json.dumps([seconds, _peak_memory()]), file=answers, flush=True)


def _peak_memory() -> int:
    """Returns the most bytes that this process ever held."""
    with contextlib.suppress(OSError):
        # Linux counts in `ru_maxrss` what the process held that started this one.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)
