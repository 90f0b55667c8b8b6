"""`python -m edge.compare A.csv B.csv`: how far two tools agree on the same video."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.tables import FaceTable, read_faces
from tfau.core import AUSet
from tfau.core.agreement import icc, mae, pcc
from tfau.core.errors import require_extra, run_cli
from tfau.core.events import synchrony
from tfau.core.files import whole_file

_COLUMNS = ("unit", "frames", "icc", "pcc", "mae", "lag_s", "pcc_at_lag")


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command.

    Args:
        argv: Words after the program's name; those of the command line if None.

    Raises:
        ValueError: If a table cannot be read, or both have nothing in common.
    """
    parser = argparse.ArgumentParser(
        "python -m edge.compare",
        description=__doc__,
        epilog="Reads tables of tfau, OpenFace 2 and 3, LibreFace and py-feat. ICC is ICC(3,1); "
        "the lag is by how many seconds B follows A where both correlate best.",
    )
    parser.add_argument("tables", nargs=2, type=Path, metavar="CSV")
    parser.add_argument("--names", nargs=2, help="what to call the two (default: their tools)")
    parser.add_argument("--face", type=int, nargs=2, help="numbers of the faces to compare")
    parser.add_argument("--units", help="what OpenFace 3's list holds, e.g. 1,2,4,6,9,12,25,26")
    parser.add_argument("-o", "--output", type=Path, help="folder for agreement.csv and the plot")
    arguments = parser.parse_args(argv)
    units = AUSet.parse(arguments.units).numbers if arguments.units else None
    faces, tools = [], []
    for place, path in enumerate(arguments.tables):
        if not path.exists():
            raise ValueError(f"There is no file {path}.")
        tool, found = read_faces(path, units)
        tools.append(tool)
        faces.append(_choose(path, found, arguments.face and arguments.face[place]))
    if arguments.names:
        tools = arguments.names
    elif tools[0] == tools[1]:
        tools = [path.stem for path in arguments.tables]
    rows = agreement(*faces)
    width = max(len(name) for name in _COLUMNS)
    print(f"A: {tools[0]} ({arguments.tables[0]})\nB: {tools[1]} ({arguments.tables[1]})")
    print("  ".join(name.rjust(width) for name in _COLUMNS))
    for row in rows:
        print("  ".join(_cell(row[name]).rjust(width) for name in _COLUMNS))
    if arguments.output:
        require_extra("analyze", "matplotlib")
        out: Path = arguments.output
        out.mkdir(parents=True, exist_ok=True)
        table = out / "agreement.csv"
        with whole_file(table) as part, part.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, _COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows({name: _cell(row[name]) for name in _COLUMNS} for row in rows)
        with whole_file(out / "agreement.png") as part:
            _plot(faces, tools, rows).savefig(part, format="png", dpi=120)
        print(f"{table}, {out / 'agreement.png'}")


def _choose(path: Path, faces: list[FaceTable], number: int | None) -> FaceTable:
    if not faces:
        raise ValueError(f"{path} has no frame in which a face was read.")
    if number is None:
        return faces[0]
    for face in faces:
        if face.face_id == number:
            return face
    known = ", ".join(str(face.face_id) for face in faces)
    raise ValueError(f"{path} has no face {number}. Known: {known}.")


def agreement(one: FaceTable, other: FaceTable) -> list[dict[str, Any]]:
    """Compares two tables of the same face, unit by unit and frame by frame.

    Frames belong together by time (the nearest one within half a frame), or by number where a
    table has no times.

    Returns:
        A row for each unit in both: `unit`, `frames`, `icc`, `pcc`, `mae`, `lag_s`, `pcc_at_lag`.

    Raises:
        ValueError: If they share no unit or no frame.
    """
    both = AUSet(
        [n for n in one.aus.numbers if n in other.aus.numbers] or _fail("no unit is in both tables")
    )
    rows_a, rows_b = _pairs(one, other)
    if not len(rows_a):
        _fail("no frame is in both tables")
    a = one.levels[:, [one.aus.index(n) for n in both.numbers]]
    b = other.levels[:, [other.aus.index(n) for n in both.numbers]]
    first, second = a[rows_a], b[rows_b]
    known = ~(np.isnan(first) | np.isnan(second))
    first, second = np.where(known, first, np.nan), np.where(known, second, np.nan)
    scores = {"icc": icc(first, second), "pcc": pcc(first, second), "mae": mae(first, second)}
    timed = not (np.isnan(one.times_s).any() or np.isnan(other.times_s).any())
    at_lag = lag = np.full(len(both), np.nan)
    if timed:
        at_lag, lag = synchrony((one.times_s, other.times_s), (a, b), step_s=1 / 30)
    return [
        {
            "unit": name,
            "frames": int(known[:, i].sum()),
            **{metric: float(values[i]) for metric, values in scores.items()},
            "lag_s": float(lag[i]),
            "pcc_at_lag": float(at_lag[i]),
        }
        for i, name in enumerate(both.names)
    ]


def _fail(what: str) -> Any:
    raise ValueError(f"The tables cannot be compared: {what}.")


def _pairs(one: FaceTable, other: FaceTable) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Returns the rows of both that are of the same moment."""
    if np.isnan(one.times_s).any() or np.isnan(other.times_s).any():
        _, a, b = np.intersect1d(one.frames, other.frames, return_indices=True)
        return a, b
    steps = [np.median(np.diff(t.times_s)) for t in (one, other) if len(t) > 1]
    reach = 0.5 * max(steps, default=0.04) + 1e-6
    after = np.searchsorted(other.times_s, one.times_s).clip(0, len(other) - 1)
    before = np.maximum(after - 1, 0)
    apart = [np.abs(other.times_s[i] - one.times_s) for i in (before, after)]
    near = np.where(apart[0] <= apart[1], before, after)
    fits = np.minimum(*apart) <= reach
    return np.flatnonzero(fits), near[fits]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.3f}"
    return str(value)


def _plot(faces: Sequence[FaceTable], tools: Sequence[str], rows: Sequence[dict[str, Any]]) -> Any:
    """Draws both tables over time, unit by unit."""
    from matplotlib.figure import Figure

    count = -(-len(rows) // 2)
    figure = Figure(figsize=(12, 0.9 * count + 1), layout="constrained")
    axes = figure.subplots(count, 2, sharex=True, squeeze=False)
    for axis in axes.flat[len(rows) :]:
        axis.set_axis_off()
    for axis, row in zip(axes.flat, rows, strict=False):
        number = int(row["unit"][2:])
        for face, tool, colour in zip(faces, tools, ("tab:blue", "tab:orange"), strict=True):
            x = face.frames if np.isnan(face.times_s).any() else face.times_s
            axis.plot(x, face.levels[:, face.aus.index(number)], colour, lw=1, label=tool)
        axis.set_title(
            f"{row['unit']}  ICC {_cell(row['icc'])}  r {_cell(row['pcc'])}", fontsize=8, loc="left"
        )
        axis.set_ylim(0, 5)
        axis.grid(alpha=0.25)
    axes.flat[0].legend(fontsize=7, frameon=False)
    return figure


if __name__ == "__main__":
    sys.exit(run_cli(main))
