"""Where DISFA+ keeps its labels and pictures, and what they say."""

from __future__ import annotations

import re
from pathlib import Path

from tfds_builders import pictures, unit_files
from tfds_builders.recordings import (
    CodedFrame,
    ManualDir,
    Recording,
    Report,
    folders,
    whole_number,
)

TREE = """
Images/
  SN001/                      or SN001/SN001/
    A1_AU1_TrailNo_1/
      000.jpg
      ...
    A2_AU2_TrailNo_1/ ...
  SN003/ ...
Labels/
  SN001/                      or SN001/SN001/
    A1_AU1_TrailNo_1/
      AU1.txt                 two lines of header, then picture and intensity: 000.jpg     0
      ...
      AU26.txt
"""
UNITS = {"intensity": (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)}
PRESENT_FROM = 2
"""Intensity from which a unit counts as seen, as in DISFA."""

_EXPECTED = "picture and intensity: a new 000.jpg, and 0 to 5"
_PICTURE = r"(\d{1,6})\.(?:bmp|jpeg|jpg|png)"


def recordings(folder: ManualDir, config: str, report: Report) -> list[Recording]:
    """Reads the labels and the names of the pictures.

    Args:
        folder: The set as its owners ship it.
        config: A key of `UNITS`.
        report: Takes what cannot be used.

    Returns:
        A recording per subject and trial.

    Raises:
        DatasetError: If a file or folder is missing or malformed, or the files of a trial
            disagree.
    """
    labels = _subjects(folder.path("Labels"))
    if not labels:
        raise folder.error(f"{folder.root / 'Labels'} has no subject like SN001.")
    images = _subjects(folder.path("Images"))
    found = []
    for subject, place in labels.items():
        if subject not in images:
            raise folder.error(f"{folder.root / 'Images' / subject} is missing; it has labels.")
        trials = {path.name.lower(): path for path in folders(images[subject])}
        labelled = folders(place)
        if not labelled:
            report.left_out(subject, "", "no trial has labels")
        for trial in labelled:
            if trial.name.lower() not in trials:
                raise folder.error(f"{images[subject] / trial.name} is missing; it has labels.")
            media = trials[trial.name.lower()]
            sequence = f"{subject}_{trial.name}"
            frames = _frames(folder, trial, media, UNITS[config], sequence, report)
            found.append(Recording(subject, sequence, media, frames))
    return found


def _subjects(place: Path) -> dict[str, Path]:
    """Finds the folder of each subject; it is doubled where each zip got a folder of its own."""
    found = {}
    for path in folders(place, r"SN\d{3}"):
        inner = folders(path, path.name)
        found[path.name.upper()] = inner[0] if inner else path
    return found


def _frames(
    folder: ManualDir,
    trial: Path,
    media: Path,
    units: tuple[int, ...],
    sequence: str,
    report: Report,
) -> tuple[CodedFrame, ...]:
    """Joins the label files of a trial, one per unit, and its pictures by the picture's number."""
    place = trial.relative_to(folder.root).parts
    found = {
        unit: unit_files.read(
            folder.path(*place, f"AU{unit}.txt"), _line, _EXPECTED, report, is_header=_is_header
        )
        for unit in units
    }
    numbered = pictures.numbered(pictures.in_folder(media), media)
    frames = []
    for number, levels in unit_files.join(found).items():
        if number not in numbered:
            report.left_out(sequence, number, "no picture")
            continue
        presence = {unit: level >= PRESENT_FROM for unit, level in levels.items()}
        frames.append(CodedFrame(number, numbered[number], levels, presence))
    if not frames:
        raise folder.error(f"{media} has no picture that {trial} codes.")
    return tuple(frames)


def _is_header(line: int, text: str) -> bool:
    """Tells what stands above the codes: comments, and two lines that name no picture."""
    return text.startswith("#") or (line <= 2 and not re.search(_PICTURE, text, re.IGNORECASE))


def _line(text: str) -> tuple[int | None, int | None]:
    words = text.split()
    name = re.fullmatch(_PICTURE, words[0], re.IGNORECASE | re.ASCII)
    if name is None or len(words) != 2:
        return None, None
    return int(name[1]), whole_number(words[1], allowed=range(6))
