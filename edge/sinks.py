"""Where answers go: CSV, JSON lines, pictures, video. BGR begins here again.

A sink writes under a hidden name beside its target and takes the target's name only when its
`with` ends well. After an error or Ctrl-C nothing of it is left.
"""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import numpy.typing as npt

from edge.sources import Frame, load_pyav
from tfau.core import AUReading, AUSet


class Sink(ABC):
    """Writes one file, all or nothing.

    Args:
        path: The file to make; its folder must exist. A file of that name is replaced.

    Raises:
        OSError: On entering, if there is no such folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._part = unfinished(self.path)

    def __enter__(self) -> Self:
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"There is no folder {self.path.parent}.")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._close()
                if self._part.exists():
                    os.replace(self._part, self.path)
            else:
                # What stopped the run is the message; that its remains do not close is none.
                with contextlib.suppress(Exception):
                    self._close()
        finally:
            self._part.unlink(missing_ok=True)

    @abstractmethod
    def _close(self) -> None:
        """Finishes and closes the file, if it was opened."""


class TextSink(Sink):
    """Writes lines of UTF-8 text."""

    def __enter__(self) -> Self:
        super().__enter__()
        self._stream = self._part.open("w", newline="", encoding="utf-8")
        return self

    def _close(self) -> None:
        self._stream.close()


class CsvSink(TextSink):
    """Writes the columns of OpenFace 2, one row for each face in each frame.

    `frame` counts from 1, `face_id` from 0; `timestamp` is in seconds; `AU12_r` is the intensity,
    0 to 5, and `AU12_c` is 1 where it reaches the model's threshold. Behind OpenFace's columns is
    `AU12_u`, by how much the intensity is expected to be wrong. A frame without a face has one row
    with `success` 0. What is not known is an empty cell, never a 0.

    Args:
        path: The file to make.
        aus: Units, in the order of the columns.
        threshold: Intensity from which a unit counts as present.
        with_file: Whether to add the file name as the last column `file`, for sets of photos.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        aus: AUSet,
        threshold: float,
        *,
        with_file: bool = False,
    ) -> None:
        super().__init__(path)
        self.aus, self.threshold, self.with_file = aus, threshold, with_file

    @property
    def header(self) -> list[str]:
        """Names of the columns."""
        return [
            *("frame", "face_id", "timestamp", "confidence", "success"),
            *(f"{name}_r" for name in self.aus.names),
            *(f"{name}_c" for name in self.aus.names),
            *(f"{name}_u" for name in self.aus.names),
            *(("file",) if self.with_file else ()),
        ]

    def __enter__(self) -> Self:
        super().__enter__()
        self._writer = csv.writer(self._stream, lineterminator="\n")
        self._writer.writerow(self.header)
        return self

    def append(self, frame: Frame, readings: Sequence[AUReading]) -> None:
        """Writes the rows of one frame."""
        rows: Sequence[AUReading | None] = readings or [None]
        for reading in rows:
            self._writer.writerow(self._row(frame, reading))

    def _row(self, frame: Frame, reading: AUReading | None) -> list[str | int]:
        face = reading.face if reading else None
        values = errors = np.full(len(self.aus), np.nan)
        if reading and reading.success:
            values = reading.intensities.astype(np.float64)
            errors = reading.uncertainties.astype(np.float64)
        return [
            frame.index + 1,
            face.track_id if face else 0,
            f"{frame.timestamp_ms / 1000:.3f}",
            f"{face.confidence if face else 0.0:.3f}",
            int(bool(reading and reading.success)),
            *("" if math.isnan(value) else f"{value:.3f}" for value in values),
            *("" if math.isnan(value) else int(value >= self.threshold) for value in values),
            *("" if math.isnan(error) else f"{error:.3f}" for error in errors),
            *((frame.name,) if self.with_file else ()),
        ]


class JsonLinesSink(TextSink):
    """Writes `json_line` for each frame: what the CSV has, and every point."""

    def append(self, frame: Frame, readings: Sequence[AUReading]) -> None:
        """Writes the line of one frame."""
        self._stream.write(json_line(frame, readings) + "\n")


def json_line(frame: Frame, readings: Sequence[AUReading]) -> str:
    """Puts the readings of one frame into one line of JSON.

    `{"frame": 1, "timestamp": 0.0, "name": ..., "faces": [{"face_id": 0, "confidence": 1.0,
    "success": true, "reason": "", "intensities": {"AU12": 2.4}, "uncertainties": {"AU12": 0.6},
    "points": {"AU12_left": [x, y, intensity]}}]}`, with points in frame pixels and null for what is
    not known.
    """
    line = {
        "frame": frame.index + 1,
        "timestamp": _number(frame.timestamp_ms / 1000),
        "name": frame.name,
        "faces": [_face(reading) for reading in readings],
    }
    return json.dumps(line, allow_nan=False)


class ImageSink(Sink):
    """Writes one picture, as PNG unless the suffix of the path says otherwise."""

    def append(self, image: npt.NDArray[np.uint8]) -> None:
        """Writes the (H, W, 3) uint8 RGB picture."""
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(self.path.suffix or ".png", bgr)
        self._part.write_bytes(data.tobytes())

    def _close(self) -> None:
        pass


class VideoSink(Sink):
    """Writes a video: H.264 with exact frame times to `.mp4` (needs PyAV), else MJPG to `.avi`.

    The first frame sets the size; a later frame of another size is scaled to it.

    Args:
        path: The file to make; its suffix chooses the format, see `VideoSink.suffix`.
        rate: Frames per second. An `.avi` plays at this rate; in an `.mp4` the times of the frames
            count, and it only helps the encoder.

    Raises:
        ValueError: If the suffix is another one.
    """

    def __init__(self, path: str | os.PathLike[str], rate: float | None = None) -> None:
        super().__init__(path)
        if self.path.suffix not in (".mp4", ".avi"):
            raise ValueError(f"`path` must end in .mp4 or .avi. Received: path={self.path}")
        self.rate = rate if rate and 0.1 <= rate <= 1000 else 30.0
        self._size: tuple[int, int] | None = None
        self._pts = -1
        self._file: Any = None

    @staticmethod
    def suffix() -> str:
        """Returns the better suffix that can be written here."""
        av = load_pyav()
        return ".mp4" if av and "libx264" in av.codecs_available else ".avi"

    def append(self, image: npt.NDArray[np.uint8], timestamp_ms: float) -> None:
        """Writes a (H, W, 3) uint8 RGB frame; the times must rise."""
        if self._size is None:
            # H.264 stores colour for 2 x 2 pixels, so both sides are rounded up to even.
            height, width = image.shape[:2]
            self._size = width + width % 2, height + height % 2
            self._open(*self._size)
        width, height = self._size
        beside, below = width - image.shape[1], height - image.shape[0]
        if 0 <= beside <= 1 and 0 <= below <= 1:
            image = cv2.copyMakeBorder(image, 0, below, 0, beside, cv2.BORDER_REPLICATE)  # type: ignore[assignment]
        else:
            image = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        if self.path.suffix == ".avi":
            self._file.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            return
        frame = self._av.VideoFrame.from_ndarray(image, format="rgb24")
        self._pts = max(self._pts + 1, round(timestamp_ms * _TICKS_PER_MS))
        frame.pts, frame.time_base = self._pts, Fraction(1, 1000 * _TICKS_PER_MS)
        self._file.mux(self._stream.encode(frame))

    def _open(self, width: int, height: int) -> None:
        if self.path.suffix == ".avi":
            code = cv2.VideoWriter.fourcc(*"MJPG")
            self._file = cv2.VideoWriter(
                os.fspath(self._part), cv2.CAP_OPENCV_MJPEG, code, self.rate, (width, height)
            )
            if not self._file.isOpened():
                raise OSError(f"{self.path} cannot be written.")
            return
        self._av: Any = load_pyav()
        if self._av is None:
            raise ValueError(
                "Writing .mp4 needs PyAV; `pip install 'tfau[video]'` brings it, or write .avi."
            )
        self._file = self._av.open(
            os.fspath(self._part), "w", format="mp4", options={"movflags": "faststart"}
        )
        rate = Fraction(self.rate).limit_denominator(1001)
        self._stream = self._file.add_stream("libx264", rate=rate, options={"crf": "20"})
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, 1000 * _TICKS_PER_MS)

    def _close(self) -> None:
        if self._file is None:
            return
        if self.path.suffix == ".avi":
            self._file.release()
        else:
            self._file.mux(self._stream.encode())
            self._file.close()


_TICKS_PER_MS = 90  # 90 kHz, the clock of MPEG


def unfinished(path: Path) -> Path:
    """Names the hidden file beside `path` that is written first; the suffix stays the same."""
    return path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 3)


def _face(reading: AUReading) -> dict[str, Any]:
    face, aus = reading.face, reading.aus
    points = zip(aus.point_names, reading.points, strict=True)

    def by_unit(values: npt.NDArray[np.float32]) -> dict[str, float | None]:
        return dict(zip(aus.names, map(_number, values), strict=True))

    return {
        "face_id": face.track_id if face else 0,
        "confidence": _number(face.confidence) if face else None,
        "success": reading.success,
        "reason": reading.reason,
        "intensities": by_unit(reading.intensities),
        "uncertainties": by_unit(reading.uncertainties),
        "points": {name: [_number(value) for value in point] for name, point in points},
    }
