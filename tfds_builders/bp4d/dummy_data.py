"""An imitation of BP4D, small and with its quirks, to try the preparation on."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from tfds_builders import dummy_faces
from tfds_builders.bp4d.layout import UNITS

CODED = {"F001_T1": range(2, 7), "F001_T2": range(1, 4), "M002_T1": range(1, 5)}
"""Coded frames of each recording."""
MISSING = {"F001_T1": 4}
"""A coded frame without a picture."""
UNCODED = {"M002_T1": 3}
"""A frame that the coders gave up."""
NINE = {"F001_T2": (2, 12)}
"""A frame, and a unit that is not coded in it."""


def level(place: int, unit: int, frame: int) -> int:
    """Says what the intensity files hold: any intensity from 0 to 5."""
    return (place + unit * frame) % 6


def seen(place: int, unit: int, frame: int) -> bool:
    """Says what the occurrence files hold."""
    return (place + unit + frame) % 3 == 0


def write(folder: Path) -> None:
    """Writes two subjects of BP4D.

    F001_T1 lacks a picture in the middle; F001_T2 is zipped and has three digits, CRLF line ends
    and a unit that is not coded in one frame; M002_T1 has upper-case suffixes and a frame that
    the coders gave up. A Mac has left its traces, and notes lie beside the labels.
    """
    sequences = folder / "Sequences"
    for number in range(7):
        if number + 1 != MISSING["F001_T1"]:
            picture = sequences / "F001" / "T1" / f"{number:04d}.jpg"
            dummy_faces.write_picture(picture, 0, number)
    for number in range(4):
        dummy_faces.write_picture(sequences / "F001" / "T2" / f"{number:03d}.jpg", 0, number + 5)
        dummy_faces.write_picture(sequences / "M002" / "T1" / f"{number:03d}.JPG", 20, number)
    pack(sequences / "F001" / "T2", sequences / "F001" / "T2.zip")
    for place in (sequences, sequences / "F001", sequences / "F001" / "T1"):
        (place / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    write_labels(folder / "AUCoding", CODED, header=(0, *range(1, 100)))
    (folder / "AUCoding" / "AU_OCC" / "notes.csv").write_text("not a label file\n")


def pack(folder: Path, path: Path) -> None:
    """Moves a folder into a zip, which lists the last picture first."""
    with zipfile.ZipFile(path, "w") as file:
        for picture in sorted(folder.rglob("*.*"), reverse=True):
            file.write(picture, picture.relative_to(folder.parent).as_posix())
    shutil.rmtree(folder)


def write_labels(
    coding: Path, coded: Mapping[str, Iterable[int]], *, header: tuple[int, ...]
) -> None:
    """Writes occurrences and intensities.

    Args:
        coding: The folder `AUCoding`.
        coded: Coded frames of each recording.
        header: First line of the tables of occurrences.
    """
    for place, (name, frames) in enumerate(coded.items()):
        end = "\r\n" if name in NINE else "\n"
        table = [header]
        for frame in frames:
            lost = frame == UNCODED.get(name)
            codes = [
                9 if lost or (frame, unit) == NINE.get(name) else int(seen(place, unit, frame))
                for unit in header[1:-1]
            ]
            table.append((frame, *codes, int(lost)))
        _write(coding / "AU_OCC" / f"{name}.csv", table, end)
        for unit in UNITS["intensity"]:
            rows = [
                (
                    frame,
                    9
                    if frame == UNCODED.get(name) or (frame, unit) == NINE.get(name)
                    else level(place, unit, frame),
                )
                for frame in frames
            ]
            _write(coding / "AU_INT" / f"AU{unit:02d}" / f"{name}_AU{unit:02d}.csv", rows, end)


def _write(path: Path, rows: Iterable[tuple[int, ...]], end: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(",".join(map(str, row)) + end for row in rows).encode())
