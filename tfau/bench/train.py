"""How many images a second does the heatmap network without graphs learn from?

The same network in PyTorch (eager, channels last, `autocast` for bfloat16) is the yardstick, where
PyTorch is installed. A step is forward, mean squared error of the maps, backward, AdamW. Contenders
take turns, so what else the machine does hits all, and ratios are of neighbours in time.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from tfau import configs
from tfau.bench.contender import PYTORCH, Task
from tfau.core.errors import require_extra
from tfau.core.names import check_name
from tfau.core.quiet import import_quietly

BACKENDS = ("tensorflow", "jax", "torch")
TARGETS = {"float32": 1.0, "bfloat16": 0.9}
"""Each precision, and the share of PyTorch's speed that our best backend must reach."""
PEAKS = {
    "H200": {"float32": 67e12, "bfloat16": 989e12},
    "H100": {"float32": 67e12, "bfloat16": 989e12},
    "A100": {"float32": 19.5e12, "bfloat16": 312e12},
}
"""Dense floating-point operations a second of graphics cards, as their maker's data sheets say."""
HEADER = "precision  engine       images/s  against pytorch     TFLOP/s  of peak  memory, GB"


@dataclass(frozen=True)
class Result:
    """What a contender did.

    Args:
        task: What it had to do.
        seconds: Of a step, a number per round.
        memory: Most that its process ever held, bytes.
        flop: Floating-point operations of a step; 0 = not known.
    """

    task: Task
    seconds: tuple[float, ...]
    memory: float
    flop: float

    @property
    def rate(self) -> float:
        """Images a second, the median of the rounds."""
        return self.task.batch_size / statistics.median(self.seconds)

    def ratios(self, other: Result) -> list[float]:
        """Says how many times as fast as another this was, round by round."""
        return [theirs / ours for ours, theirs in zip(self.seconds, other.seconds, strict=True)]


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Adds what can be chosen."""
    for name, default, kind, meaning in (
        ("backends", list(BACKENDS), str, "of Keras"),
        ("precisions", list(TARGETS), str, "that it computes in"),
        ("rounds", 7, int, "turns of each contender"),
        ("steps", 1, int, "steps in a turn"),
        ("crop-size", 256, int, "side of the crops, px"),
        ("batch-size", 16, int, "crops to a step"),
        ("backbone", "resnet_v1_50", str, "what is under the three deconvolutions"),
    ):
        command.add_argument(
            f"--{name}",
            type=kind,
            default=default,
            nargs="+" if isinstance(default, list) else None,
            help=f"{meaning} (default: %(default)s)",
        )


def run(args: argparse.Namespace) -> int:
    """Lets the contenders of each precision run against each other; 1 if a target is missed."""
    require_extra("train", "tensorflow", "keras")
    _check(args)
    card = _card()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(
        f"{args.backbone} + 3 deconvolutions at {args.crop_size} px, batches of {args.batch_size}, "
        f"on {card or f'{cores} cores'}; medians of {args.rounds} rounds\n{HEADER}"
    )
    missing, status = [], 0
    for precision in args.precisions:
        contenders = {}
        with contextlib.ExitStack() as stack:
            for engine in (PYTORCH, *args.backends):
                task = Task(engine, precision, args.backbone, args.crop_size, args.batch_size)
                try:
                    contenders[task] = stack.enter_context(_contender(task))
                except LookupError as why:
                    missing.append(f"{precision} on {engine} is missing: {why.args[0]}.")
            try:
                results = measure(contenders, args.rounds, args.steps)
            except LookupError as why:
                raise ValueError(
                    f"A contender stopped: {why.args[0]}. A smaller --batch-size needs less memory."
                ) from None
        peak = next((PEAKS[name][precision] for name in PEAKS if name in card), None)
        print("\n".join(table(results, peak)), flush=True)
        best = best_ratio(results)
        if best is not None and best < TARGETS[precision]:
            missing.append(f"{precision} reaches {best:.2f} of {TARGETS[precision]}.")
            status = 1
    for sentence in missing:
        print(sentence)
    return status


def _check(args: argparse.Namespace) -> None:
    """Checks what was chosen; ValueError if something is off."""
    for backend in args.backends:
        check_name("backend", backend, BACKENDS)
    for precision in args.precisions:
        check_name("precision", precision, TARGETS)
    for field in ("rounds", "steps"):
        if getattr(args, field) < 1:
            raise ValueError(f"`{field}` must be at least 1. Received: {getattr(args, field)}.")
    chosen = {name: getattr(args, name) for name in ("crop_size", "batch_size", "backbone")}
    configs.TrainConfig("bench", dataset="", aus=(12,), **chosen).check()
    import_quietly("keras")
    from tfau.models import backbones

    backbones.named(args.backbone)


def _card() -> str:
    """Names the graphics card; nothing where there is none."""
    if not (tool := shutil.which("nvidia-smi")):
        return ""
    asked = [tool, "--query-gpu=name", "--format=csv,noheader"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


@contextlib.contextmanager
def _contender(task: Task) -> Iterator[Contender]:
    """Starts a contender, and ends it on leaving; LookupError if it cannot run here."""
    package = "torch" if task.engine == PYTORCH else task.engine
    if importlib.util.find_spec(package) is None:
        raise LookupError(f"{package} is not installed")
    if task.engine == PYTORCH and task.backbone != "resnet_v1_50":
        raise LookupError(f"no {task.backbone} is written for it")
    words = [sys.executable, "-m", "tfau.bench.contender", json.dumps(dataclasses.asdict(task))]
    pipe = subprocess.PIPE
    # Each by itself would take all the memory of a graphics card.
    sharing = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            words, stdin=pipe, stdout=pipe, stderr=said, text=True, env=os.environ | sharing
        ) as process,
    ):
        try:
            yield Contender(process, said)
        finally:
            process.kill()


class Contender:
    """Talks with the process of a contender.

    Args:
        process: What was started.
        said: What it writes on stderr.

    Raises:
        LookupError: If it has ended.
    """

    def __init__(self, process: subprocess.Popen[str], said: IO[str]) -> None:
        self.process, self.said = process, said
        self.facts: dict[str, float] = self._answer()

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


def measure(contenders: Mapping[Task, Contender], rounds: int, steps: int) -> list[Result]:
    """Lets contenders take turns."""
    turns = [[contender(steps) for contender in contenders.values()] for _ in range(rounds)]
    flop = max((contender.facts.get("flop", 0.0) for contender in contenders.values()), default=0.0)
    return [
        Result(task, tuple(seconds for seconds, _ in turn), turn[-1][1], flop)
        for task, turn in zip(contenders, zip(*turns, strict=True), strict=True)
    ]


def table(results: Sequence[Result], peak: float | None = None) -> list[str]:
    """Writes a line for each result, under `HEADER`.

    Args:
        results: Of one precision; that of PyTorch, if it is there, is what others are set against.
        peak: Floating-point operations a second that the device can do.
    """
    yardstick = _yardstick(results)
    lines = []
    for result in results:
        against = ""
        if yardstick and result is not yardstick:
            ratios = result.ratios(yardstick)
            middle = statistics.median(ratios)
            against = f"{middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        done = result.flop * result.rate / result.task.batch_size
        share = f"{done / peak:.0%}" if peak else ""
        lines.append(
            f"{result.task.precision:9}  {result.task.engine:10}  {result.rate:10.2f}"
            f"  {against:19} {done / 1e12:8.2f}  {share:>7}  {result.memory / 1e9:10.1f}"
        )
    return lines


def best_ratio(results: Sequence[Result]) -> float | None:
    """Says how our best backend does against PyTorch; None where one of them is missing."""
    yardstick = _yardstick(results)
    if not yardstick:
        return None
    ours = (result.ratios(yardstick) for result in results if result is not yardstick)
    return max((statistics.median(ratios) for ratios in ours), default=None)


def _yardstick(results: Sequence[Result]) -> Result | None:
    return next((result for result in results if result.task.engine == PYTORCH), None)
