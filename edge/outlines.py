"""What of the faces of a video is drawn, kept in a file between reading it and drawing it."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from edge import annotators
from edge.sinks import Sink
from edge.sources import Frame
from tfau.core import AUReading


class Outline(NamedTuple):
    """Holds what of a face is drawn.

    Attributes:
        track_id: Number of the face.
        points: (P, 3) float32 x px, y px, intensity.
        lines: (K, 2) float32 outlines of the face, px.
    """

    track_id: int
    points: npt.NDArray[np.float32]
    lines: npt.NDArray[np.float32]


LOOPS: tuple[tuple[bool, tuple[int, ...]], ...] = tuple(
    (True, loop) for loop in annotators.CLOSED
) + tuple((False, loop) for loop in annotators.OPEN)
_ORDER = np.array([vertex for _, loop in LOOPS for vertex in loop])
CUTS = np.cumsum([len(loop) for _, loop in LOOPS])[:-1]
"""Where the lines of one loop end and those of the next begin; `LOOPS` says which are closed."""


class OutlineSink(Sink):
    """Keeps what will be drawn of the faces of each frame, for a second pass over the video."""

    def append(self, _: Frame, readings: Sequence[AUReading]) -> None:
        """Writes the faces of one frame."""
        stream = self._open()
        faces = [reading for reading in readings if reading.face is not None]
        stream.write(struct.pack("<B", len(faces)))
        for reading in faces:
            mesh = reading.face.mesh[_ORDER, :2]  # type: ignore[union-attr]
            track = reading.face.track_id  # type: ignore[union-attr]
            stream.write(struct.pack("<iH", track, len(reading.points)))
            stream.write(reading.points.astype("<f4").tobytes() + mesh.astype("<f4").tobytes())

    def mark(self) -> int:
        """Puts all that was written on the disk and returns its size in bytes."""
        stream = self._open()
        stream.flush()
        return stream.tell()

    def _open(self) -> BinaryIO:
        if not hasattr(self, "_stream"):
            self._stream = self._reopen()
        return self._stream

    def _close(self) -> None:
        self._open().close()


def read_outlines(path: Path) -> Iterator[list[Outline]]:
    """Yields what `OutlineSink` kept of each frame."""
    with path.open("rb") as stream:
        while head := stream.read(1):
            faces = []
            for _ in range(head[0]):
                track, points = struct.unpack("<iH", stream.read(6))
                levels = np.frombuffer(stream.read(12 * points), "<f4").reshape(points, 3)
                lines = np.frombuffer(stream.read(8 * len(_ORDER)), "<f4").reshape(-1, 2)
                faces.append(Outline(track, levels, lines))
            yield faces
