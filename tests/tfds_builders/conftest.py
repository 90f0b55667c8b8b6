"""What the tests of data sets share: reading a prepared one, and ways to damage a label file."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow_datasets as tfds
from hypothesis import strategies as st


@pytest.fixture(scope="session")
def read_rows() -> Callable[[Path], list[dict[str, Any]]]:
    """Reads all examples of a prepared set as a stranger would, in the order of their frames."""

    def read(folder: Path) -> list[dict[str, Any]]:
        builder = tfds.builder_from_directory(str(folder))
        rows = list(tfds.as_numpy(builder.as_dataset(split="all")))
        return sorted(rows, key=lambda row: (row["sequence"], row["frame"]))

    return read


@pytest.fixture(scope="session")
def read_left_out() -> Callable[[Path], list[tuple[str, ...]]]:
    """Reads what a prepared set says it lacks: where, frame, reason."""

    def read(folder: Path) -> list[tuple[str, ...]]:
        with (folder / "left_out.csv").open(newline="") as file:
            header, *rows = csv.reader(file)
        assert header == ["where", "frame", "reason"]
        return [tuple(row) for row in rows]

    return read


@pytest.fixture(scope="session")
def damaged() -> Callable[[st.DataObject, bytes], bytes]:
    """Returns a function that draws a damaged version of a text file.

    Lines are dropped, doubled, swapped, cut or replaced, single characters change; or nothing of
    the file is left.
    """

    def draw(data: st.DataObject, content: bytes) -> bytes:
        if data.draw(st.integers(0, 9)) == 0:
            return data.draw(st.binary(max_size=60))
        lines = content.splitlines(keepends=True)
        for _ in range(data.draw(st.integers(1, 3))):
            if not lines:
                break
            place = data.draw(st.integers(0, len(lines) - 1))
            line = lines[place]
            kind = data.draw(st.sampled_from(("drop", "double", "swap", "cut", "new", "change")))
            if kind == "drop":
                del lines[place]
            elif kind == "double":
                lines.insert(data.draw(st.integers(0, len(lines))), line)
            elif kind == "swap":
                lines[place], lines[-1] = lines[-1], line
            elif kind == "cut":
                lines[place] = line[: data.draw(st.integers(0, len(line)))]
            elif kind == "new":
                lines[place] = data.draw(st.text("0123456789,.-+eE#naif \t", max_size=20)).encode()
            else:
                spot = data.draw(st.integers(0, len(line) - 1)) if line else 0
                new = data.draw(
                    st.sampled_from(("", "9", "6", "-", ".", ",", "x", "\0", "٣", "nan"))
                )
                lines[place] = line[:spot] + new.encode() + line[spot + 1 :]
        return b"".join(lines)

    return draw
