"""An imitation of DISFA+, small and with its quirks, to try the preparation on."""

from __future__ import annotations

from pathlib import Path

from tfds_builders import dummy_faces
from tfds_builders.disfa_plus.layout import UNITS

CODED = {
    ("SN001", "A1_AU1_TrailNo_1"): 4,
    ("SN001", "Y_HappyDescribed_TrailNo_1"): 3,
    ("SN003", "A1_AU1_TrailNo_1"): 3,
}
"""Number of coded pictures of each trial."""
MISSING = 1
"""Number of a picture that the second trial lacks."""


def level(place: int, unit: int, number: int) -> int:
    """Says what the label files hold: any intensity from 0 to 5."""
    return (place + unit * (number + 1)) % 6


def write(folder: Path) -> None:
    """Writes two subjects of DISFA+.

    The first trial has a comment for a header and a picture more than labels; the second lacks
    a picture in the middle, and its pictures have other leading zeros than its labels; the third
    lies in a doubled folder, with CRLF line ends, upper-case suffixes and a header without signs.
    A Mac has left its traces.
    """
    for place, ((subject, trial), count) in enumerate(CODED.items()):
        inner = (subject, subject, trial) if subject == "SN003" else (subject, trial)
        end = "\r\n" if subject == "SN003" else "\n"
        sign = "" if subject == "SN003" else "# "
        labels = folder.joinpath("Labels", *inner)
        labels.mkdir(parents=True)
        (labels / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
        for unit in UNITS["intensity"]:
            rows = [f"{sign}AU{unit} of {subject}", f"{sign}Image     Intensity"]
            rows += [f"{n:03d}.jpg     {level(place, unit, n)}" for n in range(count)]
            (labels / f"AU{unit}.txt").write_bytes("".join(row + end for row in rows).encode())
        for number in range(count + (place == 0)):
            name = (f"{number:03d}.jpg", f"{number:04d}.jpg", f"{number:03d}.JPG")[place]
            if (place, number) != (1, MISSING):
                picture = folder.joinpath("Images", *inner, name)
                dummy_faces.write_picture(picture, place // 2 * 20, number + 4 * place)
