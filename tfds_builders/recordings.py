"""What the files of a data set say, before any picture is opened: no TensorFlow, no pixels."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tfau.core.errors import DatasetError
from tfau.core.files import whole_file


@dataclass(frozen=True)
class CodedFrame:
    """Says what the coders saw in one frame.

    Args:
        number: Number of the frame, as the owners count.
        picture: File in the recording's folder or zip, or position in its video, from 0.
        intensity: FACS number -> 0 to 5. A unit that is not in here was not scored.
        presence: FACS number -> whether it was seen. A unit that is not in here was not coded.
        emotion: Name of the emotion; empty where it was not coded.
        places: Point name, as in `AUSet.point_names` -> x, y in picture px, where the owners say
            where units show. The mesh places the others.
        sides: Point name -> 0 to 5, for units whose points differ; `intensity` lacks these units.
    """

    number: int
    picture: str | int
    intensity: Mapping[int, float] = field(default_factory=dict)
    presence: Mapping[int, bool] = field(default_factory=dict)
    emotion: str = ""
    places: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    sides: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_coded(self) -> bool:
        """Whether anything at all is known of the frame."""
        return bool(self.intensity or self.sides or self.presence or self.emotion)


@dataclass(frozen=True)
class Recording:
    """One person, filmed once.

    Args:
        subject: Who is seen.
        sequence: Name of the recording, unique in the data set.
        media: A folder of pictures, a zip of pictures, or a video.
        frames: What was coded, in the order of time.
        split: Part of the data set, where the owners have split it. TFDS keeps the name `all` for
            the union of all parts.
        group: Kind of person that scores are also shown for, e.g. `female`; empty if unknown.
    """

    subject: str
    sequence: str
    media: Path
    frames: tuple[CodedFrame, ...]
    split: str = "everyone"
    group: str = ""


class Report:
    """Keeps what could not be used, and why.

    Args:
        skip_bad: Write malformed lines down and go on, instead of stopping at the first.
    """

    COLUMNS = ("where", "frame", "reason")

    def __init__(self, *, skip_bad: bool = False) -> None:
        self.skip_bad = skip_bad
        self.rows: list[tuple[str, str, str]] = []

    def malformed(self, path: Path, line: int, text: str, expected: str) -> None:
        """Notes a line that is not as it should be.

        Args:
            path: The file.
            line: Number of the line, from 1; 0 for the file as a whole.
            text: The line.
            expected: What should be there, e.g. `frame,intensity with intensity 0 to 5`.

        Raises:
            DatasetError: Unless malformed lines are skipped.
        """
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        place = f"{path}, line {line}" if line else f"{path}"
        message = f"{place}: expected {expected}. Received: {shown!r}"
        if not self.skip_bad:
            raise DatasetError(f"{message} (`--skip-bad` leaves it out and goes on).")
        self.rows.append((str(path), str(line), f"malformed: expected {expected}: {shown!r}"))

    def left_out(self, sequence: str, frame: int | str, reason: str) -> None:
        """Notes a frame that does not become an example."""
        self.rows.append((sequence, str(frame), reason))

    def write(self, path: Path) -> None:
        """Writes all as CSV."""
        with whole_file(path) as unfinished, unfinished.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self.COLUMNS)
            writer.writerows(self.rows)


class ManualDir:
    """A data set exactly as its owners ship it.

    Args:
        root: The folder that the user named.
        expected: The tree that should be in it, for people to read.

    Raises:
        DatasetError: If the folder is missing. Like every error from here, it carries the tree as
            a note.
    """

    def __init__(self, root: Path, expected: str) -> None:
        self.root, self.expected = root, expected
        if not root.is_dir():
            raise self.error(f"There is no folder {root}.")

    def error(self, message: str) -> DatasetError:
        """Makes an error that shows the expected tree below its sentence."""
        error = DatasetError(message)
        error.add_note(f"Expected in {self.root}:\n{self.expected.strip()}")
        return error

    def path(self, *parts: str) -> Path:
        """Finds a file or folder, by its name in any case of letters.

        Raises:
            DatasetError: Naming the first part of the path that is missing.
        """
        here = self.root
        for part in parts:
            exact = here / part
            if not exact.exists():
                names = sorted(path.name for path in here.iterdir()) if here.is_dir() else []
                alike = [name for name in names if name.lower() == part.lower()]
                if not alike:
                    raise self.error(f"{exact} is missing.")
                exact = here / alike[0]
            here = exact
        return here


def files(folder: Path, *suffixes: str) -> list[Path]:
    """Lists the files of a folder, `2.jpg` before `10.jpg`, without hidden ones.

    Args:
        folder: The folder.
        *suffixes: Lower-case suffixes with the dot; upper case is found too. None: all files.
    """
    found = [
        path
        for path in folder.iterdir()
        if path.is_file()
        and not path.name.startswith(".")
        and (not suffixes or path.suffix.lower() in suffixes)
    ]
    return sorted(found, key=_natural)


def folders(folder: Path, pattern: str = ".*") -> list[Path]:
    """Lists the folders in a folder whose whole name matches a pattern, in any case of letters."""
    found = [
        path
        for path in folder.iterdir()
        if path.is_dir()
        and not path.name.startswith(".")
        and re.fullmatch(pattern, path.name, flags=re.IGNORECASE)
    ]
    return sorted(found, key=_natural)


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the lines of a text file that are not empty, with their numbers from 1.

    Line ends of any system, a byte order mark and spaces around a line do not matter. Bytes that
    are no text become U+FFFD, which no number contains.

    Raises:
        DatasetError: If the file cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from None
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        if stripped := line.strip():
            yield number, stripped


def whole_number(text: str, allowed: Iterable[int] | None = None) -> int | None:
    """Reads a plain decimal number, `7` or `7.0` or `7.0000000e+00`.

    Returns:
        The number; None if the text is none, or not a whole one, or not among the allowed.
    """
    if not re.fullmatch(r"\s*[+-]?\d{1,9}(\.\d{0,12})?([eE][+-]?\d{1,2})?\s*", text, re.ASCII):
        return None
    value = float(text)
    if value != int(value) or (allowed is not None and int(value) not in allowed):
        return None
    return int(value)


def _natural(path: Path) -> list[tuple[bool, int, str]]:
    parts = re.split(r"([0-9]+)", path.name.lower())
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]
