"""Label files that hold one unit each, and how they become the frames of one recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tfau.core.errors import DatasetError
from tfds_builders.recordings import Report, lines

NOT_CODED = 9


@dataclass
class UnitFile:
    """Holds what one label file says about one unit.

    Args:
        path: The file.
        levels: Number of the frame -> intensity; None where the coders gave none.
        skipped: How many malformed lines were left out.
    """

    path: Path
    levels: dict[int, float | None] = field(default_factory=dict)
    skipped: int = 0


def read(
    path: Path,
    parse: Callable[[str], tuple[int | None, int | None]],
    expected: str,
    report: Report,
    *,
    is_header: Callable[[int, str], bool] = lambda _line, _text: False,
) -> UnitFile:
    """Reads a label file, a frame per line.

    Args:
        path: The file.
        parse: Turns a line into the number of a frame and a level (0 to 5, or `NOT_CODED`), None
            for what is none.
        expected: What a line should be, for the error.
        report: Takes malformed lines. A frame that a file names twice is one.
        is_header: Tells from its number and text whether a line is to be passed over.

    Raises:
        DatasetError: If a line is malformed, unless such lines are skipped.
    """
    found = UnitFile(path)
    for line, text in lines(path):
        if is_header(line, text):
            continue
        frame, level = parse(text)
        if frame is None or level is None or frame in found.levels:
            report.malformed(path, line, text, expected)
            found.skipped += 1
        else:
            found.levels[frame] = None if level == NOT_CODED else float(level)
    if not found.levels and not found.skipped:
        report.malformed(path, 0, "an empty file", f"lines of {expected}")
    return found


def join(found: Mapping[int, UnitFile]) -> dict[int, dict[int, float]]:
    """Joins the label files of one recording by the numbers of their frames.

    Args:
        found: FACS number -> what its file says.

    Returns:
        Number of the frame, in order -> FACS number -> intensity, where there is one.

    Raises:
        DatasetError: If a file lacks a frame that another has, and skipped no line that could
            have been it.
    """
    frames: dict[int, Path] = {}
    for file in found.values():
        frames.update(dict.fromkeys(file.levels, file.path))
    for file in found.values():
        missing = sorted(set(frames) - set(file.levels))
        if len(missing) > file.skipped:
            raise DatasetError(
                f"{file.path} and {frames[missing[0]]} belong to one recording and disagree: only "
                f"the second has frame {missing[0]}."
            )
    joined: dict[int, dict[int, float]] = {frame: {} for frame in sorted(frames)}
    for unit, file in found.items():
        for frame, level in file.levels.items():
            if level is not None:
                joined[frame][unit] = level
    return joined
