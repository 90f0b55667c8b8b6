"""`python -m tfau.runs [FOLDER]`: sets runs side by side, the best first.

It shows only those settings in which they differ. It reads what runs have written, also while they
train, and needs no TensorFlow.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import math
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tfau.configs import TrainConfig
from tfau.core.errors import require_extra, run_cli
from tfau.core.files import whole_file
from tfau.scoring import OURS
from tfau.tables import Grid, csv_text, exact, rounded

_TESTED = {"Intensity": ("ICC", "MAE"), "Presence": ("F1",)}  # the first table that a run has
_CHOSEN_BY = ("ICC", "F1")
_SHOWN = ("val", "ICC", "MAE", "F1")
_NOTES = {
    "val": "val: of the validation people, the ICC, or the F1 of presence, that chose the epoch.",
    "ICC": "ICC, MAE: of the intensity, mean over the units, on the test people.",
    "F1": "F1: of the presence, mean over the units, on the test people.",
    "[": "In brackets: 95 % by bootstrap over people.",
    "±": "±: standard deviation over the seeds.",
}
"""What is said below a table, by what is seen in it."""
_SILENCE = 600.0  # s that a run which trains may write nothing, where its epochs are not longer


class Score(NamedTuple):
    """Holds a score; NaN = not known.

    Args:
        value: Of one run, or the mean of several.
        low: Lower end of what 95 % of the draws of people give.
        high: Upper end.
        deviation: Standard deviation over the runs.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    deviation: float = math.nan

    def __str__(self) -> str:
        if not math.isnan(self.deviation):
            return f"{rounded(self.value, 3)} ± {rounded(self.deviation, 3)}"
        if not math.isnan(self.low):
            return f"{rounded(self.value, 3)} [{rounded(self.low, 3)}, {rounded(self.high, 3)}]"
        return rounded(self.value, 3)


@dataclass(frozen=True)
class Result:
    """Says what became of a run; or of all its folds, or of several seeds, together.

    Args:
        name: Its folder, as seen from the one that was looked through.
        settings: Its config.
        state: `finished` = tested; `running` = not, and has written something within three epochs'
            time or ten minutes; else `stopped`.
        done: Complete epochs.
        epochs: Epochs of the config.
        best: The epoch that is kept; None if there is none, or not one.
        seconds: Time of an epoch, the middle one; NaN = not known.
        scores: Those known of `val`, the score that chose the epoch; and of the test people
            `ICC` and `MAE`, or `F1` where no intensity is estimated.
    """

    name: str
    settings: dict[str, Any]
    state: str
    done: int
    epochs: int
    best: int | None = None
    seconds: float = math.nan
    scores: dict[str, Score] = field(default_factory=dict)


def find(folder: Path) -> tuple[list[Result], list[str]]:
    """Looks for runs in a folder and in all folders below it.

    Returns:
        The runs, the best first: those that are tested, then the others by their validation; and a
        sentence for each that cannot be read.
    """
    runs: dict[Path, Result] = {}
    damaged = []
    for place, _, files in os.walk(folder, topdown=False):  # folds before what holds them
        path = Path(place)
        name = path.name if path == folder else path.relative_to(folder).as_posix()
        folds = [run for fold, run in runs.items() if fold.parent == path]
        try:
            if {"config.json", "metrics.jsonl"} & set(files):
                runs[path] = _read(path, name)
            elif folds and "scores.csv" in files:
                together = _together(name, folds, {"fold": "all"})
                scores = _tested(path / "scores.csv")
                runs[path] = dataclasses.replace(together, state="finished", scores=scores)
        except (OSError, ValueError, csv.Error) as error:
            damaged.append(f"{path} is left out: {str(error).replace(f'{path}{os.sep}', '')}")
    return sorted(runs.values(), key=_rank), sorted(damaged)


def over_seeds(runs: Iterable[Result]) -> list[Result]:
    """Puts runs together that differ in their seed alone, and averages their scores."""
    groups: dict[str, list[Result]] = defaultdict(list)
    for run in runs:
        groups[repr({**run.settings, "name": "", "seed": 0})].append(run)
    merged = []
    for group in groups.values():
        run = group[0]
        if len(group) > 1:
            seeds = sorted(each.settings["seed"] for each in group)
            run = _together(min(each.name for each in group), group, {"seed": tuple(seeds)})
        merged.append(run)
    return sorted(merged, key=_rank)


def _rank(run: Result) -> tuple[bool, float, str]:
    tested = [run.scores[name] for name in _CHOSEN_BY if name in run.scores]
    score = (tested or [run.scores.get("val", Score(-math.inf))])[0]
    return not tested, -score.value, run.name


def _read(path: Path, name: str) -> Result:
    """Reads a run; ValueError if it is damaged."""
    config = TrainConfig.read(path / "config.json")
    history = _history(path / "metrics.jsonl")
    chosen_by = next((score for score in _CHOSEN_BY if any(score in row for row in history)), "")
    merit = [_number(row.get(chosen_by)) for row in history]
    # As in training: the later of equals, and the last where nobody is asked or can be scored.
    best = max(((0.0 if x != x else x, n) for n, x in enumerate(merit)), default=None)
    scores = {"val": Score(merit[best[1]])} if best and merit[best[1]] == merit[best[1]] else {}
    if (path / "scores.csv").is_file():
        scores |= _tested(path / "scores.csv")
    seconds = _middle(_number(row.get("seconds")) for row in history)
    state = "finished"
    if not (path / "report.md").is_file():
        files = [path / "config.json", path / "metrics.jsonl"]
        last = max(file.stat().st_mtime for file in files if file.is_file())
        patience = _SILENCE if seconds != seconds else max(_SILENCE, 3 * seconds)
        state = "running" if time.time() - last < patience else "stopped"
    return Result(
        name,
        dataclasses.asdict(config),
        state,
        len(history),
        config.epochs,
        best[1] + 1 if best else None,
        seconds,
        scores,
    )


def _together(name: str, runs: Sequence[Result], settings: dict[str, Any]) -> Result:
    """Puts runs together: their scores are averaged if all have them."""
    scores = {}
    for kind in _SHOWN:
        values = [run.scores[kind].value for run in runs if kind in run.scores]
        if len(values) == len(runs) > 1:
            deviation = statistics.stdev(values)
            scores[kind] = Score(statistics.mean(values), deviation=deviation)
    return Result(
        name,
        runs[0].settings | settings,
        ", ".join(sorted({run.state for run in runs})),
        sum(run.done for run in runs),
        sum(run.epochs for run in runs),
        seconds=_middle(run.seconds for run in runs),
        scores=scores,
    )


def _history(path: Path) -> list[dict[str, Any]]:
    """Reads `metrics.jsonl`; ValueError if it is damaged."""
    rows = []
    for number, line in enumerate(path.read_text().splitlines() if path.is_file() else [], 1):
        try:
            rows.append(dict(json.loads(line)))
        except (TypeError, ValueError):
            raise ValueError(f"line {number} of {path.name} is damaged.") from None
    return rows


def _tested(path: Path) -> dict[str, Score]:
    """Reads means over the units from `scores.csv`; ValueError if it is damaged."""
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("AU") == "mean"]
    for table, kinds in _TESTED.items():
        for row in rows:
            if (row.get("table"), row.get("source"), row.get("group")) == (table, OURS, ""):
                ends = ("", "_low", "_high")
                found = {kind: Score(*(_number(row.get(kind + e)) for e in ends)) for kind in kinds}
                return {kind: score for kind, score in found.items() if score.value == score.value}
    raise ValueError(f"{path.name} is not a table of scores.")


def _number(text: object) -> float:
    """Reads a number; NaN if it is none."""
    try:
        return float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def _middle(values: Iterable[float]) -> float:
    """Returns the median of what is known."""
    known = [value for value in values if math.isfinite(value)]
    return statistics.median(known) if known else math.nan


def differing(runs: Sequence[Result]) -> list[str]:
    """Lists the settings that are not the same in all runs, in the order of the config.

    The name and the number of epochs are not among them: every table has them anyhow. The seed is,
    where runs are put together over several.
    """
    first = runs[0].settings
    several = any(isinstance(run.settings["seed"], tuple) for run in runs)
    return [
        name
        for name in first
        if name not in ("name", "epochs")
        and (any(run.settings[name] != first[name] for run in runs) or (name == "seed" and several))
    ]


def grid(runs: Sequence[Result]) -> Grid:
    """Sets runs side by side for people."""
    settings = differing(runs)
    kinds = [kind for kind in _SHOWN if any(kind in run.scores for run in runs)]
    timed = ["s/epoch"] if any(math.isfinite(run.seconds) for run in runs) else []
    rows = [["run", "state", "epochs", "best", *kinds, *timed, *settings]]
    for run in runs:
        row = [run.name, run.state, f"{run.done}/{run.epochs}", _word(run.best) or "-"]
        row += [str(run.scores.get(kind, "-")) for kind in kinds]
        row += [f"{run.seconds:.3g}" if math.isfinite(run.seconds) else "-" for _ in timed]
        rows.append(row + [_word(run.settings[name]) or "-" for name in settings])
    seen = {*rows[0], *"".join(cell for row in rows[1:] for cell in row)}  # headers, characters
    notes = (sentence for mark, sentence in _NOTES.items() if mark in seen)
    return Grid("Runs", rows, tuple(notes), rules=())


def table(runs: Sequence[Result]) -> str:
    """Sets runs side by side for machines, as CSV; an empty cell is not known."""
    records = []
    for run in runs:
        record = {"run": run.name, "state": run.state, "done": str(run.done)}
        record |= {"epochs": str(run.epochs), "best": _word(run.best)}
        for kind, score in run.scores.items():
            for end, value in score._asdict().items():
                if value == value:
                    record[kind if end == "value" else f"{kind}_{end}"] = exact(value)
        record |= {"seconds": exact(run.seconds)}
        records.append(record | {name: _word(run.settings[name]) for name in differing(runs)})
    return csv_text(records)


def _word(value: object) -> str:
    """Writes a setting: `1 2 3`; nothing for None."""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def main(argv: Sequence[str] | None = None) -> None:
    """Compares runs."""
    parser = argparse.ArgumentParser(
        prog="python -m tfau.runs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, nargs="?", default=Path("runs"), help="(runs)")
    parser.add_argument(
        "--over-seeds",
        action="store_true",
        help="put runs together that differ in their seed alone: mean ± standard deviation",
    )
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table as CSV, too")
    args = parser.parse_args(argv)
    runs, damaged = find(args.folder)
    for sentence in damaged:
        print(f"tfau: {' '.join(sentence.split())}", file=sys.stderr)
    if not runs:
        raise ValueError(f"There is no run in {args.folder}; `python -m tfau.train` makes one.")
    if args.over_seeds:
        runs = over_seeds(runs)
    if args.csv:
        with whole_file(args.csv) as path:
            path.write_text(table(runs))
    if args.markdown:
        print(grid(runs).markdown())
    else:
        require_extra("train", "rich")
        grid(runs).show()


if __name__ == "__main__":
    sys.exit(run_cli(main))
