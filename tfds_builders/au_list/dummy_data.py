"""An imitation of the published lists, small and with quirks, to try the preparation on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tfds_builders import dummy_faces

PEOPLE = {"train": "M017", "val": "F001", "test": "F002"}
"""Who is seen in which list."""
POINTS = {"bp4d": 10, "disfa": 24}
"""Points of an entry."""
PAIRS = {
    "bp4d": (6, 6, 10, 10, 12, 12, 14, 14, 17, 17),
    "disfa": (
        *(1, 1, 2, 2, 4, 5, 5, 6, 6, 9, 9, 9, 12, 12, 15, 15, 17, 17, 20, 20, 25, 25, 26, 26),
    ),
}
"""Unit of each point."""


def values(kind: str, number: int) -> list[float]:
    """Makes the numbers of an entry: x, y, intensity of each point, from right to left."""
    found: list[float] = []
    for place, unit in enumerate(PAIRS[kind]):
        found += [100.5 + 5 * place, 120.0 + place, (unit + number) % 6]
    return found


def write(folder: Path) -> None:
    """Writes three lists of each kind, of the same pictures.

    The lists to train with are JSON and begin, like the published ones, with a folder of their
    authors, and name a picture that is missing; those to validate with are text with CRLF line
    ends, and call a picture .jpg that is .JPG here; those to test with are JSON and name the
    person. Names have different leading zeros. A Mac has left its traces.
    """
    numbers = {"train": ("3", "010", "11"), "val": ("7", "08"), "test": ("a", "b")}
    for place, (split, names) in enumerate(numbers.items()):
        inner = Path("crops") if split == "test" else Path(PEOPLE[split], "T8")
        for step, name in enumerate(names):
            suffix = ".JPG" if name == "08" else ".jpg"
            if name != "010":
                picture = folder / inner / f"{name}{suffix}"
                dummy_faces.write_picture(picture, 20 * place, step + 3)
    for kind in POINTS:
        train = [_entry(kind, f"/data0/X/M017/T8/{n}.jpg", int(n)) for n in numbers["train"]]
        test = [
            _entry(kind, f"crops\\{n}.jpg", step) | {"subject": "F002"}
            for step, n in enumerate(numbers["test"])
        ]
        (folder / f"train_{kind.upper()}.json").write_text(json.dumps(train))
        (folder / f"test_{kind.upper()}.json").write_text(json.dumps(test))
        rows = [f"F001/T8/{n}.jpg {_joined(values(kind, int(n)))}" for n in numbers["val"]]
        (folder / f"val_{kind.upper()}.TXT").write_bytes(("\r\n".join(rows) + "\r\n").encode())
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")


def _entry(kind: str, path: str, number: int) -> dict[str, object]:
    return {"imgpath": path, "AUs": values(kind, number)}


def _joined(numbers: Iterable[float]) -> str:
    return " ".join(f"{number:g}" for number in numbers)
