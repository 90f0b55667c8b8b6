"""Lists of pictures with places and intensities of units, and how they become recordings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfau.core.action_units import ACTION_UNITS, INTENSITY_MAX
from tfau.core.errors import DatasetError
from tfds_builders import pictures
from tfds_builders.recordings import CodedFrame, ManualDir, Recording, Report, files, lines

TREE = """
train*.json              or .txt; the beginning of its name puts a list into a split
val*.json
test*.json
M017/T8/336.jpg          pictures, where the lists say
...

In a .json: [{"imgpath": "M017/T8/336.jpg", "AUs": [x, y, intensity, x, y, intensity, ...]}, ...]
In a .txt, per line: M017/T8/336.jpg x y intensity x y intensity ...
"""
UNITS = {"bp4d": (6, 10, 12, 14, 17), "disfa": (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)}
PRESENT_FROM = {"bp4d": 1, "disfa": 2}
"""Intensity from which a unit counts as seen, as in the sets that the lists were made of."""

_POINTS = {"bp4d": dict.fromkeys(UNITS["bp4d"], 2), "disfa": dict.fromkeys(UNITS["disfa"], 2)}
_POINTS["disfa"] |= {4: 1, 9: 3}
_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_FARTHEST = 1e5  # px; no picture is so large


@dataclass(frozen=True)
class _Units:
    """Holds what an entry says about the units, as in `CodedFrame`."""

    intensity: Mapping[int, float]
    sides: Mapping[str, float]
    presence: Mapping[int, bool]
    places: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class _Entry:
    """Holds an entry of a list.

    Args:
        number: Its line, or its place in the list from 1.
        path: Parts of the path of the picture.
        subject: Who is seen; empty if the list does not say.
        units: What is said about the units.
    """

    number: int
    path: tuple[str, ...]
    subject: str
    units: _Units


def recordings(folder: ManualDir, config: str, report: Report) -> list[Recording]:
    """Reads the lists.

    Args:
        folder: The lists, and the pictures below it.
        config: A key of `UNITS`. A list with another key in its name is not read.
        report: Takes what cannot be used.

    Returns:
        A recording per split, subject and folder of pictures.

    Raises:
        DatasetError: If there is no list, or one is malformed, or none of its pictures is there.
    """
    others = [name for name in UNITS if name != config]
    lists = [
        path
        for path in files(folder.root, ".json", ".txt")
        if not any(name in path.stem.lower() for name in others)
    ]
    if not lists:
        raise folder.error(f"{folder.root / 'train.json'} is missing, and so is any other list.")
    there = _pictures_below(folder.root)
    found: dict[tuple[str, str, Path], dict[Path, _Entry]] = {}
    listed: set[Path] = set()
    for path in lists:
        entries = list(_entries(path, config, report))
        foreign = _foreign([entry.path for entry in entries], there)
        if entries and foreign is None:
            first = "/".join(entries[0].path)
            raise folder.error(f"{folder.root} has none of the pictures of {path}, e.g. {first}.")
        for entry in entries:
            picture = _find(entry.path[foreign:], there)
            if picture is None:
                report.left_out(path.name, entry.number, f"no picture: {'/'.join(entry.path)}")
            elif picture in listed:
                _malformed(path, entry.number, str(picture), "a picture not listed before", report)
            else:
                listed.add(picture)
                place = picture.parent
                subject = entry.subject or (place.parts[0] if place.parts else picture.stem)
                found.setdefault((_split(path), subject, place), {})[picture] = entry
    return [
        Recording(
            subject=subject,
            sequence="/".join(place.parts if subject in place.parts else (subject, *place.parts)),
            media=folder.root / place,
            frames=_frames(entries),
            split=split,
        )
        for (split, subject, place), entries in found.items()
    ]


def _frames(entries: Mapping[Path, _Entry]) -> tuple[CodedFrame, ...]:
    """Orders pictures by the numbers that are their names; as listed, if a name is no number."""
    names = [path.stem for path in entries]
    numbers = [int(name) for name in names if re.fullmatch(r"\d{1,9}", name, re.ASCII)]
    if len(set(numbers)) < len(names):
        numbers = list(range(1, len(names) + 1))
    frames = [
        CodedFrame(
            number=number,
            picture=path.name,
            intensity=entry.units.intensity,
            sides=entry.units.sides,
            presence=entry.units.presence,
            places=entry.units.places,
        )
        for number, (path, entry) in zip(numbers, entries.items(), strict=True)
    ]
    return tuple(sorted(frames, key=lambda frame: frame.number))


def _split(path: Path) -> str:
    for beginning, split in _SPLITS.items():
        if path.name.lower().startswith(beginning):
            return split
    return Recording.split


def _pictures_below(root: Path) -> dict[str, Path]:
    """Finds all pictures: path from the root, also in lower case -> path from the root."""
    found: dict[str, Path] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in pictures.SUFFIXES and not path.name.startswith("."):
            inner = path.relative_to(root)
            found[inner.as_posix()] = inner
            found.setdefault(inner.as_posix().lower(), inner)
    return found


def _find(parts: tuple[str, ...], there: Mapping[str, Path]) -> Path | None:
    name = "/".join(parts)
    return there.get(name) or there.get(name.lower())


def _foreign(paths: list[tuple[str, ...]], there: Mapping[str, Path]) -> int | None:
    """Counts how many folders the paths of a list begin with that are not here.

    The published lists begin with a folder of their authors. As many parts are taken off every
    path alike as it takes to find a picture; None if there is none.
    """
    for count in range(max(map(len, paths), default=0)):
        if any(_find(path[count:], there) for path in paths):
            return count
    return None


def _entries(path: Path, config: str, report: Report) -> Iterator[_Entry]:
    """Reads a list."""
    size = 3 * sum(_POINTS[config].values())
    expected = f"a picture and {size} numbers: x, y and an intensity from 0 to 5 for each point"
    rows = _json_rows(path, report) if path.suffix.lower() == ".json" else _text_rows(path, size)
    empty = True
    for number, text, name, values, subject in rows:
        empty = False
        parts = _parts(name)
        units = _units(values, config) if _are_numbers(values, size) else None
        named = isinstance(subject, str | int) and not isinstance(subject, bool)
        if parts is None or units is None or not named:
            _malformed(path, number, text, expected, report)
        else:
            yield _Entry(number, parts, str(subject), units)
    if empty:
        report.malformed(path, 0, "nothing", "a list of pictures")


Row = tuple[int, str, Any, Any, Any]  # number, text; unchecked: path, values, subject


def _text_rows(path: Path, size: int) -> Iterator[Row]:
    for line, text in lines(path):
        name, *words = text.rsplit(maxsplit=size)
        try:
            yield line, text, name, [float(word) for word in words], ""
        except ValueError:
            yield line, text, name, None, ""


def _json_rows(path: Path, report: Report) -> Iterator[Row]:
    try:
        found = json.loads(path.read_bytes().decode("utf-8-sig", errors="replace"))
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        report.malformed(path, getattr(error, "lineno", 0), str(error), "JSON")
        return
    if not isinstance(found, list):
        report.malformed(path, 0, json.dumps(found), "a list of entries")
        return
    for number, item in enumerate(found, start=1):
        entry = item if isinstance(item, dict) else {}
        text = json.dumps(item)
        yield number, text, entry.get("imgpath"), entry.get("AUs"), entry.get("subject", "")


def _malformed(path: Path, number: int, text: str, expected: str, report: Report) -> None:
    """Reports an entry: by its line, or in JSON, where nobody counts lines, by its number."""
    if path.suffix.lower() == ".json":
        report.malformed(path, 0, text, f"as entry {number} {expected}")
    else:
        report.malformed(path, number, text, expected)


def _parts(name: Any) -> tuple[str, ...] | None:
    """Takes the path of a picture apart, without a root or drive; None if it is none."""
    if not isinstance(name, str) or not name.lower().endswith(pictures.SUFFIXES):
        return None
    parts = tuple(part for part in re.split(r"[/\\]", name) if part not in ("", "."))
    if re.fullmatch(r"[A-Za-z]:", parts[0]):
        parts = parts[1:]
    return None if ".." in parts or not parts else parts


def _are_numbers(values: Any, size: int) -> bool:
    """Tells whether these are the right number of points, with intensities from 0 to 5."""
    return (
        isinstance(values, list)
        and len(values) == size
        and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        and all(abs(value) <= _FARTHEST for value in values)  # which NaN is not
        and all(0 <= level <= INTENSITY_MAX for level in values[2::3])
    )


def _units(values: list[float], config: str) -> _Units | None:
    """Finds out what the points of an entry say about the units.

    Of two points, the first is the subject's right or the upper one, as in the published lists.
    The outer two of the three points of AU9 are its sides. The third, and the one point of AU4,
    are no points of ours: they have an intensity and no place.

    Returns:
        None if the third point is neither as intense as one of the others nor between them.
    """
    numbers = [float(value) for value in values]
    points = list(zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True))
    intensity: dict[int, float] = {}
    sides: dict[str, float] = {}
    presence: dict[int, bool] = {}
    places: dict[str, tuple[float, float]] = {}
    for unit, count in _POINTS[config].items():
        own, points = points[:count], points[count:]
        levels = [level for *_, level in own]
        presence[unit] = max(levels) >= PRESENT_FROM[config]
        if count == 3:
            own.sort()  # from the subject's right to the left
            right, third, left = (level for *_, level in own)
            if not min(right, left) <= third <= max(right, left):
                return None
            del own[1]
        named = dict(zip(_names(unit), own, strict=False)) if count > 1 else {}
        places |= {name: (x, y) for name, (x, y, _) in named.items()}
        if len(set(levels)) == 1:
            intensity[unit] = levels[0]
        else:
            sides |= {name: level for name, (*_, level) in named.items()}
    return _Units(intensity, sides, presence, places)


def _names(unit: int) -> list[str]:
    """Lists the points of a unit in the order of the lists: right, left or upper, lower."""
    return sorted(ACTION_UNITS[unit].points, key=lambda name: name.endswith(("_left", "_lower")))
