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
import statistics
from collections.abc import Iterator, Sequence

from tfau import configs
from tfau.bench.machine import cores, graphics_card
from tfau.bench.train_contender import PYTORCH, Task
from tfau.bench.turns import Contender, Result, contender, measure, spread
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
    card = graphics_card()
    print(
        f"{args.backbone} + 3 deconvolutions at {args.crop_size} px, batches of {args.batch_size}, "
        f"on {card or f'{cores()} cores'}; medians of {args.rounds} rounds\n{HEADER}"
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
                steps = dict.fromkeys(contenders, args.steps)
                results = measure(contenders, args.rounds, steps)
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


@contextlib.contextmanager
def _contender(task: Task) -> Iterator[Contender]:
    """Starts a contender, and ends it on leaving; LookupError if it cannot run here."""
    package = "torch" if task.engine == PYTORCH else task.engine
    if importlib.util.find_spec(package) is None:
        raise LookupError(f"{package} is not installed")
    if task.engine == PYTORCH and task.backbone != "resnet_v1_50":
        raise LookupError(f"no {task.backbone} is written for it")
    # Each by itself would take all the memory of a graphics card.
    sharing = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    with contender("tfau.bench.train_contender", dataclasses.asdict(task), **sharing) as started:
        yield started


def rate(result: Result[Task]) -> float:
    """Returns the images a second, by the median of the rounds."""
    return result.task.batch_size / statistics.median(result.seconds)


def table(results: Sequence[Result[Task]], peak: float | None = None) -> list[str]:
    """Writes a line for each result, under `HEADER`.

    Args:
        results: Of one precision; that of PyTorch, if it is there, is what others are set against.
        peak: Floating-point operations a second that the device can do.
    """
    yardstick = _yardstick(results)
    flop = max((result.facts.get("flop", 0.0) for result in results), default=0.0)
    lines = []
    for result in results:
        against = ""
        if yardstick and result is not yardstick:
            against = spread(result.ratios(yardstick))
        done = flop * rate(result) / result.task.batch_size
        share = f"{done / peak:.0%}" if peak else ""
        lines.append(
            f"{result.task.precision:9}  {result.task.engine:10}  {rate(result):10.2f}"
            f"  {against:19} {done / 1e12:8.2f}  {share:>7}  {result.memory / 1e9:10.1f}"
        )
    return lines


def best_ratio(results: Sequence[Result[Task]]) -> float | None:
    """Says how our best backend does against PyTorch; None where one of them is missing."""
    yardstick = _yardstick(results)
    if not yardstick:
        return None
    ours = (result.ratios(yardstick) for result in results if result is not yardstick)
    return max((statistics.median(ratios) for ratios in ours), default=None)


def _yardstick(results: Sequence[Result[Task]]) -> Result[Task] | None:
    return next((result for result in results if result.task.engine == PYTORCH), None)
