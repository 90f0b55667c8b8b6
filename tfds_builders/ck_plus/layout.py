"""Where CK+ keeps its labels and pictures, and what they say.

A sequence runs from the neutral face to the peak of an expression. The peak was coded; the first
picture is neutral. Pictures and labels are joined by the numbers in their names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tfau.core import examples
from tfau.core.action_units import ACTION_UNITS
from tfau.core.errors import DatasetError
from tfds_builders import pictures
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
cohn-kanade-images/                         or extended-cohn-kanade-images/cohn-kanade-images/
  S005/001/S005_001_00000001.png            neutral
           ...
           S005_001_00000011.png            the peak
  S010/ ...
FACS/                                       or FACS_labels/FACS/
  S005/001/S005_001_00000011_facs.txt       in a line, a unit and its intensity, 0 = not scored
  ...
Emotion/                                    or Emotion_labels/Emotion/; may be missing
  S005/001/S005_001_00000011_emotion.txt    0 to 7
  ...
"""
UNITS = {
    # Seen in 20 sequences or more; in more than 35; in more than 90.
    "all": (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 16, 17, 20, 23, 24, 25, 26, 27),
    "most_17": (1, 2, 4, 5, 6, 7, 9, 12, 14, 15, 17, 20, 23, 24, 25, 26, 27),
    "most_10": (1, 2, 4, 5, 6, 7, 12, 15, 17, 25),
}
EMOTIONS = ("neutral", *examples.EMOTIONS)

Key = tuple[int, int]  # the numbers of a subject and a sequence


@dataclass(frozen=True)
class _Label:
    """Names a label file and the frame that it is about."""

    path: Path
    frame: int


def recordings(folder: ManualDir, config: str, report: Report) -> list[Recording]:
    """Reads the labels and the names of the pictures.

    Args:
        folder: The set as its owners ship it.
        config: A key of `UNITS`.
        report: Takes what cannot be used.

    Returns:
        A recording per sequence: its first frame, as neutral, and the one that was coded.

    Raises:
        DatasetError: If a file or folder is missing or malformed.
    """
    images = _sequences(folder, "cohn-kanade-images", "extended-cohn-kanade-images")
    facs = _labels(_sequences(folder, "FACS", "FACS_labels"), "facs", report)
    emotions = _labels(_sequences(folder, "Emotion", "Emotion_labels"), "emotion", report)
    for name, found in (("cohn-kanade-images", images), ("FACS", facs)):
        if not found:
            raise folder.error(f"{folder.root / name} is missing, or has no S005/001.")
    for key, label in (facs | emotions).items():
        if key not in images:
            report.malformed(label.path, 0, "none", f"pictures of {_name(key)}")
    made = []
    for key, media in images.items():
        pattern = rf"S0*{key[0]}_0*{key[1]}_(\d{{1,9}})"
        numbered = pictures.numbered(pictures.in_folder(media), media, pattern)
        frames = _frames(
            _name(key), numbered, facs.get(key), emotions.get(key), UNITS[config], report
        )
        if frames:
            made.append(Recording(_name(key).partition("_")[0], _name(key), media, frames))
    return made


def _frames(
    sequence: str,
    numbered: Mapping[int, str],
    facs: _Label | None,
    emotion: _Label | None,
    units: tuple[int, ...],
    report: Report,
) -> tuple[CodedFrame, ...]:
    """Joins the labels and pictures of a sequence."""
    labels = {label.frame: label for label in (facs, emotion) if label is not None}
    if facs is None:
        report.left_out(sequence, "", "no FACS file")
    first = next(iter(numbered), None)
    numbers = set(labels)
    if first is not None and len(numbered) > 1:
        numbers.add(first)
    frames = []
    for number in sorted(numbers):
        if number not in numbered:
            report.left_out(sequence, number, "no picture")
            continue
        intensity: dict[int, float] = {}
        presence: dict[int, bool] = {}
        if facs is not None and number == facs.frame:
            intensity, presence = _codes(facs, units, sequence, report)
        name = "" if number in labels else EMOTIONS[0]
        if emotion is not None and number == emotion.frame:
            name = _emotion(emotion, report)
        frames.append(CodedFrame(number, numbered[number], intensity, presence, name))
    return tuple(frames)


def _codes(
    label: _Label, units: tuple[int, ...], sequence: str, report: Report
) -> tuple[dict[int, float], dict[int, bool]]:
    """Reads a FACS file.

    A unit that is listed was seen, with the intensity, unless that is 0. A unit that is not was
    not seen, if all that is listed could be read.

    Returns:
        FACS number -> intensity, and FACS number -> whether it was seen.
    """
    listed: dict[int, float | None] = {}
    rows = list(lines(label.path))
    unclear = not rows
    for line, text in rows:
        words = [_number(word) for word in text.split()]
        unit, level = words if len(words) == 2 else (None, None)
        if unit is None or level is None:
            report.malformed(label.path, line, text, "a unit and its intensity, 0 to 5")
            unclear = True
        elif unit not in ACTION_UNITS:
            report.left_out(sequence, label.frame, f"a unit that is not known here: AU {unit:g}")
            unclear |= unit != int(unit)
        else:
            scored = level in range(1, 6) and listed.get(int(unit), level) == level
            if level and not scored:
                report.left_out(
                    sequence, label.frame, f"an intensity that is none: AU {unit:g}, {level:g}"
                )
            listed[int(unit)] = level if scored else None
    intensity: dict[int, float] = {}
    presence: dict[int, bool] = {}
    for number in units:
        scored_level = listed.get(number, None if unclear else 0.0)
        if scored_level is not None:
            intensity[number] = scored_level
        if number in listed or not unclear:
            presence[number] = number in listed
    return intensity, presence


def _emotion(label: _Label, report: Report) -> str:
    """Reads an emotion file; empty if it is malformed."""
    rows = list(lines(label.path)) or [(0, "")]
    emotion = whole_number(rows[0][1], allowed=range(len(EMOTIONS)))
    if emotion is None or len(rows) > 1:
        report.malformed(label.path, *rows[-1], "one number, 0 to 7")
        return ""
    return EMOTIONS[emotion]


def _number(text: str) -> float | None:
    """Reads a decimal number that is not negative, e.g. `1.7000000e+01`."""
    if re.fullmatch(r"\+?\d{1,9}(\.\d*)?(e[+-]?\d{1,2})?", text, re.ASCII | re.IGNORECASE):
        return float(text)
    return None


def _sequences(folder: ManualDir, name: str, wrapper: str) -> dict[Key, Path]:
    """Finds the folder of each sequence, below a folder that may lie in another one."""
    found: dict[Key, Path] = {}
    for outer in folders(folder.root, f"{name}|{wrapper}"):
        for place in (outer, *folders(outer, name)):
            for subject in folders(place, r"S\d{1,4}"):
                for path in folders(subject, r"\d{1,4}"):
                    key = int(subject.name[1:]), int(path.name)
                    if key in found:
                        raise _both(found[key], path, key)
                    found[key] = path
    return found


def _labels(places: Mapping[Key, Path], kind: str, report: Report) -> dict[Key, _Label]:
    """Finds the label file of each sequence that has one."""
    found: dict[Key, _Label] = {}
    for key, place in places.items():
        for path in files(place, ".txt"):
            match = re.fullmatch(
                rf"S(\d{{1,5}})_(\d{{1,5}})_(\d{{1,9}})_{kind}", path.stem, re.IGNORECASE | re.ASCII
            )
            if match is None:
                continue
            if (int(match[1]), int(match[2])) != key:
                report.malformed(path, 0, path.name, f"a name that begins with {_name(key)}")
            elif key in found:
                raise _both(found[key].path, path, key)
            else:
                found[key] = _Label(path, int(match[3]))
    return found


def _name(key: Key) -> str:
    return f"S{key[0]:03d}_{key[1]:03d}"


def _both(first: Path, second: Path, key: Key) -> DatasetError:
    return DatasetError(f"{first} and {second} are both {_name(key)}; keep one of them.")
