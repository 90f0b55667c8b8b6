"""Where BP4D keeps its labels and pictures, and what they say. BP4D+ has the same layout."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tfau.core.errors import DatasetError
from tfds_builders import pictures, unit_files
from tfds_builders.recordings import (
    CodedFrame,
    ManualDir,
    Recording,
    Report,
    files,
    folders,
    lines,
    whole_number,
)

TREE = """
Sequences/               or Sequences(2D+3D)/, 2D+3D/, BP4D-training/
  F001/
    T1/                  or T1.zip; or, instead of F001/, F001.zip
      0000.jpg           or 000.jpg: any number of leading zeros
      ...
    T2/ ...
  M018/ ...
AUCoding/
  AU_OCC/                or AUCoding/, or the files without a folder
    F001_T1.csv          header of unit numbers; frame, then 0, 1 or 9 for each unit
    ...
  AU_INT/                or, beside AUCoding/, AU Intensity Codes3.0/
    AU06/
      F001_T1_AU06.csv   frame,intensity, 0 to 5 or 9
      ...
    AU10/ AU12/ AU14/ AU17/ ...
"""
UNITS = {
    "occurrence": (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24),
    "intensity": (6, 10, 12, 14, 17),
}
PRESENT_FROM = 1
"""Intensity from which a unit counts as seen: the coders' level A."""

_GROUPS = {"F": "female", "M": "male"}
_TASK = r"T0*(\d{1,2})"
_NAME = r"([FM])0*(\d{1,3})_?" + _TASK
_FLAG = 99  # the column of this number says that a frame could not be coded well
_FRAMES = range(1, 1_000_000)

Key = tuple[str, str]  # subject and task, e.g. F001, T1


@dataclass(frozen=True)
class _Coded:
    """Holds what the label files say about one recording, before its pictures are known."""

    source: Path
    intensity: Mapping[int, Mapping[int, float]]
    presence: Mapping[int, Mapping[int, bool]]


def recordings(folder: ManualDir, config: str, report: Report) -> list[Recording]:
    """Reads the labels and the names of the pictures.

    Args:
        folder: The set as its owners ship it: the release of Binghamton or of FERA 2015.
        config: A key of `UNITS`.
        report: Takes what cannot be used.

    Returns:
        A recording per subject and task.

    Raises:
        DatasetError: If a file or folder is missing or malformed, or two files disagree.
    """
    return read(folder, UNITS[config], intensity=config == "intensity", report=report)


def read(
    folder: ManualDir, units: tuple[int, ...], *, intensity: bool, report: Report
) -> list[Recording]:
    """Reads a set that is laid out like BP4D.

    Args:
        folder: The set.
        units: FACS numbers of the wanted units.
        intensity: Read intensities, not occurrences.
        report: Takes what cannot be used.

    Returns:
        A recording per subject and task.
    """
    coded = (_intensity if intensity else _occurrence)(folder, units, report)
    media = _media(folder)
    numbered: dict[Key, dict[int, str]] = {}
    for key in coded:
        if key not in media:
            subject, task = key
            raise folder.error(
                f"{_sequences(folder) / subject / task} is missing, and there is no zip of it, "
                f"but {coded[key].source} codes its frames."
            )
        path, names = media[key]
        names = pictures.in_folder(path) if path.is_dir() else names
        numbered[key] = pictures.numbered(names, path)
    shift = _shift((coded[key].presence, numbered[key]) for key in coded)
    found = []
    for (subject, task), labels in coded.items():
        path, _ = media[subject, task]
        frames = _frames(labels, numbered[subject, task], shift, f"{subject}_{task}", report)
        if not frames:
            raise folder.error(f"{path} has no picture of the frames that {labels.source} codes.")
        found.append(
            Recording(
                subject=subject,
                sequence=f"{subject}_{task}",
                media=path,
                frames=frames,
                group=_GROUPS[subject[0]],
            )
        )
    return found


def _frames(
    labels: _Coded, numbered: Mapping[int, str], shift: int, sequence: str, report: Report
) -> tuple[CodedFrame, ...]:
    """Joins labels and pictures of a recording."""
    frames = []
    for number in sorted(labels.presence):
        if number + shift not in numbered:
            report.left_out(sequence, number, "no picture")
        else:
            frames.append(
                CodedFrame(
                    number=number,
                    picture=numbered[number + shift],
                    intensity=labels.intensity.get(number, {}),
                    presence=labels.presence[number],
                )
            )
    return tuple(frames)


def _shift(found: Iterable[tuple[Iterable[int], Mapping[int, str]]]) -> int:
    """Finds what to add to the number of a frame to get the number of its picture.

    Coders count frames from 1. Where a picture 0 exists, pictures are counted from 0. Elsewhere
    the count that finds more pictures is right, and the same count if both find all.

    Args:
        found: Of each recording, the coded frames and the numbers of the pictures.
    """
    both = list(found)
    if any(0 in numbers for _, numbers in both):
        return -1
    hits = {
        shift: sum(frame + shift in numbers for frames, numbers in both for frame in frames)
        for shift in (0, -1)
    }
    return max(hits, key=lambda shift: hits[shift])


def _occurrence(folder: ManualDir, units: tuple[int, ...], report: Report) -> dict[Key, _Coded]:
    """Reads the tables of a recording each, with a column per unit."""
    places = [
        place
        for outer in folders(folder.root, "AUCoding")
        for place in (*folders(outer, "AU_OCC"), *folders(outer, "AUCoding"), outer)
    ]
    found = next(filter(None, map(_labels, places)), {})
    if not found:
        raise folder.error(
            f"{folder.root / 'AUCoding' / 'AU_OCC'} is missing, or has no file like F001_T1.csv."
        )
    coded = {}
    for (subject, task), path in found.items():
        if presence := _table(path, units, report):
            coded[subject, task] = _Coded(path, {}, presence)
    return coded


def _table(path: Path, units: tuple[int, ...], report: Report) -> dict[int, dict[int, bool]]:
    """Reads a table of occurrences.

    Returns:
        Number of the frame -> FACS number -> whether it was seen, where the coders could say.
    """
    rows = lines(path)
    line, text = next(rows, (0, ""))
    # The first cell names the column of frames, and differs from release to release.
    header = [whole_number(cell) for cell in text.split(",")][1:]
    if any(header.count(unit) != 1 for unit in units):
        report.malformed(path, line, text, f"a header that names each of {list(units)} once")
        return {}
    columns = {unit: header.index(unit) + 1 for unit in units}
    flag = header.index(_FLAG) + 1 if _FLAG in header else None
    presence: dict[int, dict[int, bool]] = {}
    for line, text in rows:
        cells = text.split(",")
        frame = whole_number(cells[0], allowed=_FRAMES)
        whole = len(cells) == len(header) + 1 and frame not in presence
        codes = {u: whole_number(cells[c], allowed=(0, 1, 9)) for u, c in columns.items() if whole}
        if frame is None or not whole or None in codes.values():
            expected = f"a new frame from 1, and {len(header)} codes of 0, 1 or 9"
            report.malformed(path, line, text, expected)
            continue
        flagged = flag is not None and whole_number(cells[flag]) == 1
        presence[frame] = {
            unit: code == 1
            for unit, code in codes.items()
            if code != unit_files.NOT_CODED and not flagged
        }
    return presence


def _intensity(folder: ManualDir, units: tuple[int, ...], report: Report) -> dict[Key, _Coded]:
    """Reads the files of a recording, one per unit."""
    roots = [
        root
        for outer in (folder.root, *folders(folder.root, "AUCoding"))
        for place in folders(outer, r"AU_INT|(BP4D-)?AU[ -]?Intensity[ -]?Codes3\.0")
        for root in (place, *folders(place, "Project"))
    ]
    for root in roots:
        by_unit = {unit: _unit_labels(root, unit) for unit in units}
        if any(by_unit.values()):
            break
    else:
        missing = folder.root / "AUCoding" / "AU_INT" / f"AU{units[0]:02d}"
        raise folder.error(f"{missing} is missing, or has no file like F001_T1_AU06.csv.")
    coded = {}
    for key in sorted({key for found in by_unit.values() for key in found}, key=_order):
        sequence = "_".join(key)
        for unit in units:
            if key not in by_unit[unit]:
                name = f"AU{unit:02d}/{sequence}_AU{unit:02d}.csv"
                raise folder.error(f"{root / name} is missing; other units of {sequence} are not.")
        read = {unit: unit_files.read(by_unit[unit][key], _line, _LINE, report) for unit in units}
        intensity = unit_files.join(read)
        if intensity:
            presence = {
                frame: {unit: level >= PRESENT_FROM for unit, level in levels.items()}
                for frame, levels in intensity.items()
            }
            coded[key] = _Coded(by_unit[units[0]][key], intensity, presence)
    return coded


_LINE = "frame,intensity: a new frame from 1, and 0 to 5 or 9"


def _line(text: str) -> tuple[int | None, int | None]:
    frame, _, level = text.partition(",")
    return (
        whole_number(frame, allowed=_FRAMES),
        whole_number(level, allowed=(*range(6), unit_files.NOT_CODED)),
    )


def _unit_labels(root: Path, unit: int) -> dict[Key, Path]:
    """Finds the label files of a unit: subject and task -> file."""
    places = folders(root, f"AU0?{unit}")
    return _labels(places[0], rf"{_NAME}_AU0?{unit}") if places else {}


def _labels(place: Path, pattern: str = _NAME) -> dict[Key, Path]:
    """Finds the label files of a folder: subject and task -> file."""
    found: dict[Key, Path] = {}
    for path in files(place, ".csv"):
        if match := re.fullmatch(pattern, path.stem, re.IGNORECASE | re.ASCII):
            _add(found, _key(*match.groups()), path)
    return found


def _media(folder: ManualDir) -> dict[Key, tuple[Path, list[str]]]:
    """Finds the pictures of each recording.

    Returns:
        Subject and task -> the folder, or the zip and the names of the pictures in it. What was
        unpacked counts before its zip.
    """
    unpacked: dict[Key, Path] = {}
    packed: dict[Key, tuple[Path, list[str]]] = {}
    for path in sorted(_sequences(folder).iterdir()):
        subject = re.fullmatch(r"([FM])0*(\d{1,3})(\.zip)?", path.name, re.IGNORECASE | re.ASCII)
        if subject and path.is_dir():
            for child in sorted(path.iterdir()):
                if task := re.fullmatch(_TASK + r"(\.zip)?", child.name, re.IGNORECASE | re.ASCII):
                    key = _key(subject[1], subject[2], task[1])
                    if child.is_dir():
                        _add(unpacked, key, child)
                    elif task[2]:
                        packed[key] = child, pictures.in_zip(child)
        elif subject and subject[3]:
            for name in pictures.in_zip(path):
                parent = PurePosixPath(name).parent.name
                if task := re.fullmatch(_TASK, parent, re.IGNORECASE | re.ASCII):
                    key = _key(subject[1], subject[2], task[1])
                    packed.setdefault(key, (path, []))[1].append(name)
    return packed | {key: (path, []) for key, path in unpacked.items()}


def _sequences(folder: ManualDir) -> Path:
    """Finds the folder of the pictures: the first that holds a subject."""
    for place in folders(folder.root, r"Sequences(\(2D\+3D\))?|2D\+3D|BP4D-training"):
        subjects = (re.match(r"[FM]\d", path.name, re.IGNORECASE) for path in place.iterdir())
        if any(subjects):
            return place
    raise folder.error(f"{folder.root / 'Sequences'} is missing, or has no subject like F001.")


def _key(sex: str, number: str, task: str) -> Key:
    return f"{sex.upper()}{int(number):03d}", f"T{int(task)}"


def _order(key: Key) -> tuple[str, int]:
    return key[0], int(key[1][1:])


def _add(found: dict[Key, Path], key: Key, path: Path) -> None:
    if key in found:
        raise DatasetError(f"{found[key]} and {path} are both {'_'.join(key)}; keep one of them.")
    found[key] = path
