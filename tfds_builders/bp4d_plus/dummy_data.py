"""An imitation of BP4D+, small and with its quirks, to try the preparation on."""

from __future__ import annotations

from pathlib import Path

from tfds_builders import dummy_faces
from tfds_builders.bp4d.dummy_data import pack, write_labels

CODED = {"F001_T1": range(1, 4), "F001_T6": range(2, 4), "M002_T8": range(1, 3)}
"""Coded frames of each recording."""
HEADER = (
    *(1, 1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23, 24, 27, 28, 29),
    *(30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 99),
)
"""First line of the tables; it begins with the number of a unit, where BP4D has 0."""


def write(folder: Path) -> None:
    """Writes two subjects of BP4D+.

    F001 is one zip with a task, T2, that was not coded; M002 is unpacked, and has one coded frame
    more than pictures. A Mac has left its traces.
    """
    pictures = folder / "2D+3D"
    for number in range(4):
        for place, task in enumerate(("T1", "T2", "T6")):
            picture = pictures / "F001" / task / f"{number:04d}.jpg"
            dummy_faces.write_picture(picture, 0, number + 3 * place)
    dummy_faces.write_picture(pictures / "M002" / "T8" / "0000.jpg", 20, 0)
    (pictures / "F001" / "T1" / "0000.mtl").write_text("a material of the 3D model\n")
    (pictures / "F001" / "T1" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    pack(pictures / "F001", pictures / "F001.zip")
    write_labels(folder / "AUCoding", CODED, header=HEADER)
