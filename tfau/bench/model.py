"""How long does a model take for a crop on this machine?

Prints a table to paste. Contenders are processes of their own and take turns, so what else the
machine does hits all, and ratios are of neighbours in time.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import itertools
import math
import statistics
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfau.bench import machine
from tfau.bench.model_contender import LITERT, ONNXRUNTIME, PYTORCH, Task
from tfau.bench.turns import Contender, Result, contender, measure, spread
from tfau.core import BundleError, EdgeBundle
from tfau.core.errors import require_extra
from tfau.core.names import check_name
from tfau.tables import Grid

AGAINST = ("torch", "onnxruntime", "onnxruntime_int8")
NETWORK = {
    "backbone": "resnet_v1_50",
    "graph_levels": [],
    "decoder_filters": [256, 256, 256],
}
"""The network that is written for PyTorch, as `provenance` in `tfau.json` describes it."""

_TURN_SECONDS = 0.5
_SLOWEST = 10


@dataclass(frozen=True)
class Row:
    """Names a contender.

    Args:
        name: What the table calls it.
        task: What it does.
    """

    name: str
    task: Task


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Adds what can be chosen."""
    command.add_argument(
        "files", metavar="FILE", nargs="+", type=Path, help=".tflite or .onnx of `tfau export`"
    )
    command.add_argument(
        "--threads", default="1", help="numbers of threads, e.g. 1,2,4 (default: %(default)s)"
    )
    command.add_argument(
        "--against", default="", help=f"what to set against them, out of {','.join(AGAINST)}"
    )
    command.add_argument(
        "--rounds", type=int, default=7, help="turns of each contender (default: %(default)s)"
    )
    command.add_argument(
        "--no-xnnpack", action="store_true", help="also without XNNPACK, LiteRT's fast kernels"
    )
    command.add_argument(
        "--profile", action="store_true", help="also say which operations take the time"
    )


def run(args: argparse.Namespace) -> int:
    """Lets the files, and what they are set against, run against each other."""
    threads, against = _threads(args.threads), [name for name in args.against.split(",") if name]
    for name in against:
        check_name("contender", name, AGAINST)
    if args.rounds < 1:
        raise ValueError(f"`rounds` must be at least 1. Received: {args.rounds}.")
    bundles = {path: EdgeBundle.read(path) for path in args.files if _is_tflite(path)}
    missing, meter = [], machine.EnergyMeter()
    with contextlib.ExitStack() as stack:
        contenders: dict[Row, Contender] = {}
        for row in _files(args.files, threads, args.no_xnnpack):
            try:
                contenders[row] = stack.enter_context(_started(row))
            except LookupError as why:
                raise ValueError(f"{row.task.file} cannot be run: {why.args[0]}.") from None
        batch = next(iter(contenders.values())).facts["batch"]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in against:
            try:
                for row in _opponents(name, args.files, bundles, threads, batch, folder):
                    if row not in contenders:
                        contenders[row] = stack.enter_context(_started(row))
            except LookupError as why:
                missing.append(f"{name} is missing: {why.args[0]}.")
        try:
            once = measure(contenders, 1, dict.fromkeys(contenders, 1))
            steps = {one.task: max(1, math.ceil(_TURN_SECONDS / one.seconds[0])) for one in once}
            results = measure(contenders, args.rounds, steps, meter)
        except LookupError as why:
            raise ValueError(f"A contender stopped: {why.args[0]}.") from None
        notes = [
            f"{machine.describe()}; {', '.join(_runtimes(results))}.",
            f"Medians of {args.rounds} rounds, in parentheses the range.",
            "Memory is the most that the process held, Python and all.",
            *missing,
        ]
        if meter.why_not:
            notes.append(f"Energy is missing: {meter.why_not}.")
        laid = table(results, notes)  # while the files are there
    print(laid.markdown(), flush=True)
    if args.profile:
        for result in _first_of_each(results):
            print(f"\n{_profile(result)}", flush=True)
    return 0


def _threads(text: str) -> list[int]:
    """Reads numbers of threads; ValueError if they are none."""
    words = text.split(",")
    if not all(word.isdecimal() and int(word) for word in words):
        raise ValueError(f"`threads` must be numbers from 1 on, such as 1,2,4. Received: {text!r}.")
    return list(dict.fromkeys(int(word) for word in words))


def _is_tflite(path: Path) -> bool:
    """Tells the two kinds of files apart; an error if this is none of them, or cannot be run."""
    if path.suffix != ".onnx":
        return True
    if not path.is_file():
        raise BundleError(f"There is no model file at {path}.")
    require_extra("onnx", "onnxruntime")
    return False


def _files(paths: Sequence[Path], threads: Sequence[int], no_xnnpack: bool) -> Iterator[Row]:
    for count, path in itertools.product(threads, paths):
        if path.suffix == ".onnx":
            yield Row(path.name, Task(ONNXRUNTIME, str(path), count))
            continue
        for xnnpack in (True, False) if no_xnnpack else (True,):
            yield Row(path.name, Task(LITERT, str(path), count, xnnpack))


def _opponents(
    name: str,
    paths: Sequence[Path],
    bundles: dict[Path, EdgeBundle],
    threads: Sequence[int],
    batch: int,
    folder: Path,
) -> list[Row]:
    """Finds what files are set against, for each number of threads.

    Args:
        name: Out of `AGAINST`.
        paths: Of the files.
        bundles: What the `.tflite` among them say of themselves.
        threads: Numbers of threads.
        batch: Crops that the first file takes at once.
        folder: For what is made on the way.

    Raises:
        LookupError: If it cannot run here or has nothing to do with the files; says why.
    """
    package = "torch" if name == "torch" else "onnxruntime"
    if importlib.util.find_spec(package) is None:
        raise LookupError(f"{package} is not installed")
    if name == "torch":
        for bundle in bundles.values():
            network = bundle.provenance.get("network") or {}
            if all(network.get(key) == value for key, value in NETWORK.items()):
                points, size = len(bundle.aus.point_names), bundle.crop_size
                task = Task(PYTORCH, batch=batch, crop_size=size, points=points)
                break
        else:
            raise LookupError(
                "only resnet_v1_50 with three deconvolutions of 256 filters and no graphs is "
                "written for it, and no file says that it is this network"
            )
        label = "PyTorch, float32, eager"
    else:
        path = _onnx_beside(paths, bundles)
        label = path.name
        if name == "onnxruntime_int8":
            if importlib.util.find_spec("onnx") is None:
                raise LookupError("onnx is not installed")
            from tfau.bench.onnx_int8 import quantize_fastest

            path, words = quantize_fastest(path, folder, threads[0])
            label += f", 8 bits ({words})"
        task = Task(ONNXRUNTIME, str(path))
    return [Row(label, dataclasses.replace(task, threads=count)) for count in threads]


def _onnx_beside(paths: Sequence[Path], bundles: dict[Path, EdgeBundle]) -> Path:
    """Finds the `.onnx` among the files, or of the same run beside the first `.tflite`."""
    for path in paths:
        if path.suffix == ".onnx":
            return path
    path, bundle = next(iter(bundles.items()))
    stem = path.name.removesuffix(path.suffix).removesuffix(f"_{bundle.recipe}")
    beside = path.with_name(f"{stem}.onnx")
    if not beside.is_file():
        raise LookupError(f"there is no {beside}; `tfau export` makes one")
    return beside


@contextlib.contextmanager
def _started(row: Row) -> Iterator[Contender]:
    with contender("tfau.bench.model_contender", dataclasses.asdict(row.task)) as started:
        yield started


def table(results: Sequence[Result[Row]], notes: Sequence[str] = ()) -> Grid:
    """Lays out a row for each result; the energy is left out if it is not known.

    Args:
        results: The first is what all are set against.
        notes: Sentences below.
    """
    energy = all(result.joules for result in results)
    heads = ["model", "threads", "XNNPACK", "ms per crop", "time, first = 1", "peak MB", "file MB"]
    rows = [[*heads, "J per crop"] if energy else heads]
    for result in results:
        task, batch = result.task.task, result.facts["batch"]
        against = [1 / ratio for ratio in result.ratios(results[0])]
        rows.append(
            [
                result.task.name,
                str(task.threads),
                ("on" if task.xnnpack else "off") if task.engine == LITERT else "-",
                spread([1e3 * seconds / batch for seconds in result.seconds], digits=3),
                spread(against) if result is not results[0] else "1",
                f"{result.memory / 1e6:.0f}",
                f"{Path(task.file).stat().st_size / 1e6:.2f}" if task.file else "-",
            ]
        )
        if energy:
            rows[-1].append(f"{statistics.median(result.joules) / batch:.3f}")
    return Grid("Time for a crop", rows, tuple(notes), ())


def _runtimes(results: Iterable[Result[Row]]) -> list[str]:
    return list(dict.fromkeys(result.facts["runtime"] for result in results))


def _first_of_each(results: Iterable[Result[Row]]) -> list[Result[Row]]:
    """Picks one result for each file."""
    first: dict[str, Result[Row]] = {}
    for result in results:
        if result.task.task.engine == LITERT:
            first.setdefault(result.task.task.file, result)
    return list(first.values())


def _profile(result: Result[Row]) -> str:
    """Measures the operations of a file by themselves; lays out the slowest as Markdown."""
    row = dataclasses.replace(result.task, task=dataclasses.replace(result.task.task, profile=True))
    try:
        with _started(row) as started:
            found: list[tuple[str, float]] = started.facts["operations"]
    except LookupError as why:
        return f"The profile of {row.name} is missing: {why.args[0]}."
    together = sum(seconds for _, seconds in found)
    rows = [["operation", "ms", "share"]]
    for name, seconds in sorted(found, key=lambda one: -one[1])[:_SLOWEST]:
        rows.append([name, f"{1e3 * seconds:.3f}", f"{seconds / together:.0%}"])
    note = (
        f"Each of the {len(found)} operations was run by itself; together they take "
        f"{1e3 * together:.2f} ms, and the model {1e3 * statistics.median(result.seconds):.2f}."
    )
    return Grid(f"The slowest operations of {row.name}", rows, (note,), ()).markdown()
