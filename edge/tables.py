"""Tables of action units over time: ours, and those of OpenFace, LibreFace and py-feat."""

from __future__ import annotations

import csv
import importlib.util
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfau.core import AUSet
from tfau.core.action_units import ACTION_UNITS, INTENSITY_MAX
from tfau.core.errors import MissingExtra

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FaceTable:
    """Holds what was read of one face, in T frames.

    Args:
        face_id: Number of the face.
        aus: Its units.
        frames: (T,) numbers of the frames, from 1; rising.
        times_s: (T,) their times, seconds; NaN of photos that have none.
        levels: (T, A) intensities, 0 to 5; NaN where not known.
        left: (T, A) on the subject's left, NaN where not known.
        right: (T, A) on the right.
        quality: (T,) 0 to 1, NaN where not known.
        names: (T,) files of photos, else empty.
    """

    face_id: int
    aus: AUSet
    frames: npt.NDArray[np.int64]
    times_s: Floats
    levels: Floats
    left: Floats
    right: Floats
    quality: Floats
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class _Tool:
    """Says how a tool names its columns.

    Args:
        name: The tool.
        column: Which columns are intensities; the group is the number of the unit.
        scale: What 5 is called there.
        frame, time, face, success: Names of columns; empty = there is none.
        time_unit: Seconds in one.
    """

    name: str
    column: str
    scale: float
    frame: str
    time: str
    face: str
    success: str
    time_unit: float = 1.0


_TOOLS = (
    _Tool("tfau or OpenFace 2", r"AU(\d\d)_r", 5.0, "frame", "timestamp", "face_id", "success"),
    _Tool("LibreFace", r"au_(\d+)_intensity", 5.0, "frame_idx", "frame_time_in_ms", "", "", 1e-3),
    _Tool("py-feat", r"AU(\d\d)", 1.0, "frame", "approx_time", "", ""),
)


def read_faces(path: Path, units: Sequence[int] | None = None) -> tuple[str, list[FaceTable]]:
    """Reads a table of any of the tools.

    Args:
        path: A CSV. OpenFace 2's and ours have `AU12_r`, LibreFace's `au_12_intensity`, py-feat's
            `AU12` (probabilities, taken times 5).
        units: Units of OpenFace 3's list `action_units`, which does not say which they are.

    Returns:
        The name of the tool, and a table for each face, the one seen most often first. Frames in
        which no face was read belong to none. OpenFace's 0 in frames without success is NaN here.

    Raises:
        ValueError: If it is no such table.
        OSError: If it cannot be read.
    """
    with path.open(encoding="utf-8-sig", newline="") as stream:
        try:
            rows = csv.reader(stream)
            header = [name.strip() for name in next(rows, [])]
            if "action_units" in header:
                names, lists = _unlisted(path, header, rows, units)
                tool = _Tool("OpenFace 3", r"AU(\d\d)", 1.0, "frame", "", "face_id", "")
                return tool.name, _faces(path, tool, names, lists)
            for tool in _TOOLS:
                if any(re.fullmatch(tool.column, name) for name in header):
                    return tool.name, _faces(path, tool, header, rows)
        except (UnicodeDecodeError, csv.Error):
            raise ValueError(f"{path} is no CSV.") from None
    raise ValueError(
        f"{path} has no column of intensities as tfau, OpenFace, LibreFace and py-feat write them."
    )


def _faces(
    path: Path, tool: _Tool, header: list[str], rows: Iterable[list[str]]
) -> list[FaceTable]:
    place = {name: i for i, name in enumerate(header)}
    matches = {i: re.fullmatch(tool.column, name) for i, name in enumerate(header)}
    columns = {int(match[1]): i for i, match in matches.items() if match}
    aus = AUSet(sorted(number for number in columns if number in ACTION_UNITS))
    sides = {
        side: [place.get(f"AU{number:02d}_{side}_r") for number in aus.numbers]
        for side in ("left", "right")
    }
    single = [
        place.get(name) for name in (tool.frame, tool.time, tool.face, tool.success, "quality")
    ]
    wanted = [*(columns[n] for n in aus.numbers), *sides["left"], *sides["right"], *single]
    cells, names = _numbers(path, header, rows, wanted, place.get("file"))
    width = len(aus)
    levels, left, right = (cells[:, i * width : (i + 1) * width] for i in range(3))
    frames, times, face, success, quality = cells[:, 3 * width :].T
    levels = levels * (INTENSITY_MAX / tool.scale)
    face = face if tool.face in place else np.zeros(len(cells))
    seen = ~np.isnan(levels).all(axis=1) & ((success == 1) | (tool.success not in place))
    if np.isnan(frames).all():
        frames = np.arange(1.0, len(cells) + 1)
    found = []
    count = {number: int((face[seen] == number).sum()) for number in set(face[seen].tolist())}
    for number in sorted(count, key=lambda n: (-count[n], n)):
        mine = np.flatnonzero((face == number) & seen)
        mine = mine[np.argsort(frames[mine], kind="stable")]
        found.append(
            FaceTable(
                int(number),
                aus,
                frames[mine].astype(np.int64),
                times[mine] * tool.time_unit,
                levels[mine].clip(0, INTENSITY_MAX),
                left[mine],
                right[mine],
                quality[mine],
                tuple(names[row] for row in mine) if names else (),
            )
        )
    return found


def _numbers(
    path: Path,
    header: list[str],
    rows: Iterable[list[str]],
    wanted: Sequence[int | None],
    file: int | None,
) -> tuple[Floats, list[str]]:
    """Reads some columns, an hour of video in little more memory than the numbers take.

    Returns:
        (rows, len(wanted)), NaN where a cell is empty or there is no such column; and the texts of
        the column `file`.
    """
    parts: list[Floats] = [np.zeros((0, len(wanted)))]
    chunk: list[list[float]] = []
    names: list[str] = []
    for line, row in enumerate(rows, 2):
        if not row:
            continue
        if len(row) != len(header):
            raise ValueError(f"{path}: line {line} has another number of cells than the first.")
        try:
            chunk.append([float(row[i] or "nan") if i is not None else np.nan for i in wanted])
        except ValueError:
            wrong = next(header[i] for i in wanted if i is not None and not _is_number(row[i]))
            raise ValueError(f"{path}: line {line}: {wrong} is no number.") from None
        if file is not None:
            names.append(row[file])
        if len(chunk) == 4096:
            parts.append(np.array(chunk))
            chunk.clear()
    if chunk:
        parts.append(np.array(chunk))
    return np.concatenate(parts), names


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True


def _unlisted(
    path: Path, header: list[str], rows: Iterable[list[str]], units: Sequence[int] | None
) -> tuple[list[str], list[list[str]]]:
    """Turns OpenFace 3's lists in cells into columns."""
    place = header.index("action_units")
    body = [row for row in rows if row]
    lists = [re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", row[place]) for row in body]
    count = len(lists[0]) if lists else 0
    if units is None or len(units) != count or any(len(one) != count for one in lists):
        raise ValueError(
            f"{path}: OpenFace 3 writes {count} numbers a face without saying which units they "
            f"are; name as many with --units."
        )
    names = [*header, *(f"AU{number:02d}" for number in units)]
    return names, [[*row, *one] for row, one in zip(body, lists, strict=True)]


def to_fex(face: FaceTable) -> Any:
    """Makes py-feat's `Fex` of a face.

    Returns:
        A `feat.data.Fex` (a pandas DataFrame) with the columns `AU01`... from 0 to 1, `frame` and
        `approx_time`, its sampling frequency that of the table.

    Raises:
        MissingExtra: If py-feat is not installed.
    """
    if not (importlib.util.find_spec("feat") and importlib.util.find_spec("pandas")):
        raise MissingExtra("py-feat is not installed: `pip install py-feat`.")
    fex, pandas = importlib.import_module("feat.data"), importlib.import_module("pandas")
    columns = dict(zip(face.aus.names, (face.levels / INTENSITY_MAX).T, strict=True))
    table = pandas.DataFrame({"frame": face.frames, "approx_time": face.times_s, **columns})
    steps = np.diff(face.times_s)
    return fex.Fex(
        table,
        au_columns=list(face.aus.names),
        sampling_freq=float(1 / np.median(steps)) if len(steps) else None,
    )
