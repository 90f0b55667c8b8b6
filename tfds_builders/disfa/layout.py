"""Where DISFA keeps its labels and videos, and what they say."""

from __future__ import annotations

from tfds_builders import unit_files
from tfds_builders.recordings import (
    CodedFrame,
    ManualDir,
    Recording,
    Report,
    folders,
    whole_number,
)

TREE = """
ActionUnit_Labels/
  SN001/
    SN001_au1.txt        frame,intensity: one line per frame, from 1
    ...
    SN001_au26.txt
  SN002/ ...
Videos_LeftCamera/
  LeftVideoSN001_comp.avi
  LeftVideoSN002_comp.avi
  ...
"""
UNITS = {"intensity": (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)}
SUBJECTS = tuple(f"SN{number:03d}" for number in (*range(1, 14), 16, 17, 18, 21, *range(23, 33)))
PRESENT_FROM = 2
"""Intensity from which a unit counts as seen, in all published scores of this set."""

_FRAMES = range(1, 1_000_000)


def recordings(folder: ManualDir, config: str, report: Report) -> list[Recording]:
    """Reads the labels; nothing is decoded.

    Args:
        folder: The set as its owners ship it. Subjects may be missing; the report says which.
        config: A key of `UNITS`.
        report: Takes what cannot be used.

    Returns:
        A recording per subject.

    Raises:
        DatasetError: If a file is missing or malformed, or the files of a subject disagree.
    """
    found = folders(folder.path("ActionUnit_Labels"), r"SN\d{3}")
    subjects = {path.name.upper(): path for path in found}
    for subject in SUBJECTS:
        if subject not in subjects:
            report.left_out(subject, "", "no such subject in this copy")
    return [
        Recording(
            subject=subject,
            sequence=subject,
            media=folder.path("Videos_LeftCamera", f"LeftVideo{subject}_comp.avi"),
            frames=_frames(folder, labels.name, UNITS[config], report),
        )
        for subject, labels in subjects.items()
    ]


def _frames(
    folder: ManualDir, subject: str, units: tuple[int, ...], report: Report
) -> tuple[CodedFrame, ...]:
    levels = unit_files.join(
        {
            unit: unit_files.read(
                folder.path("ActionUnit_Labels", subject, f"{subject}_au{unit}.txt"),
                _parse,
                "frame,intensity: a new frame from 1, and 0 to 5",
                report,
            )
            for unit in units
        }
    )
    return tuple(
        CodedFrame(
            number=frame,
            picture=frame - 1,
            intensity=intensity,
            presence={unit: level >= PRESENT_FROM for unit, level in intensity.items()},
        )
        for frame, intensity in levels.items()
    )


def _parse(line: str) -> tuple[int | None, int | None]:
    frame, _, level = line.partition(",")
    return whole_number(frame, allowed=_FRAMES), whole_number(level, allowed=range(6))
