"""Where answers go: CSV, JSON lines, pictures, video. BGR begins here again.

A sink writes to `NAME.part.csv` and takes the name `NAME.csv` only when its `with` ends well. After
an error or Ctrl-C nothing of it is left, unless it was told to keep what it has: then another
sink goes on from there.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Self

import cv2
import numpy as np
import numpy.typing as npt

from edge.sources import Frame, load_pyav
from tfau.core import AUReading, AUSet
from tfau.core.files import whole_file
from tfau.core.readings import FaceGeometry


class Sink(ABC):
    """Writes one file, all or nothing.

    Args:
        path: The file to make; its folder must exist. A file of that name is replaced.
        start: Where to go on, as `mark` said; None to begin anew.

    Attributes:
        keep: Whether what was written stays, as `.part`, when the `with` ends badly.

    Raises:
        OSError: On entering, if there is no such folder, or nothing to go on with.
    """

    def __init__(self, path: str | os.PathLike[str], start: int | None = None) -> None:
        self.path, self.start, self.keep = Path(path), start, False
        self._part = unfinished(self.path)

    def __enter__(self) -> Self:
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"There is no folder {self.path.parent}.")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        whole = False
        try:
            if kind is None:
                self._finish()
                if self._part.exists():
                    os.replace(self._part, self.path)
                whole = True
            else:
                # What stopped the run is the message; that its remains do not close is none.
                with contextlib.suppress(Exception):
                    self._close()
        finally:
            if not whole and not self.keep:
                self._part.unlink(missing_ok=True)

    def _finish(self) -> None:
        """Closes the file and gives it its final form."""
        self._close()

    @abstractmethod
    def _close(self) -> None:
        """Closes the file, if it was opened."""

    def mark(self) -> int:
        """Puts all that was written on the disk.

        Returns:
            Its size in bytes, for `start` of a sink that goes on.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot go on where it stopped.")

    def _reopen(self) -> BinaryIO:
        """Opens the unfinished file where it goes on."""
        if self.start is None:
            return self._part.open("wb")
        if not self._part.is_file() or self._part.stat().st_size < self.start:
            raise FileNotFoundError(f"{self._part} is missing or too short to go on with.")
        stream = self._part.open("r+b")
        stream.truncate(self.start)
        stream.seek(self.start)
        return stream


class TextSink(Sink):
    """Writes lines of UTF-8 text."""

    def __enter__(self) -> Self:
        super().__enter__()
        self._stream = io.TextIOWrapper(self._reopen(), encoding="utf-8", newline="")
        return self

    def mark(self) -> int:
        """Puts all that was written on the disk and returns its size in bytes."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        return self._stream.buffer.tell()

    def _close(self) -> None:
        self._stream.close()


class CsvSink(TextSink):
    """Writes the columns of OpenFace 2, one row for each face in each frame.

    `frame` counts from 1, `face_id` from 0; `timestamp` is in seconds; `AU12_r` is the intensity,
    0 to 5, and `AU12_c` is 1 where it reaches the model's threshold; `gaze_0` is the subject's
    right eye; see `FaceGeometry` for the axes. Behind OpenFace's columns are `AU12_u`, by how much
    the intensity is expected to be wrong, the eye aspect ratios, `quality` and `reason`. A frame
    without a face has one row with `success` 0. What is not known is an empty cell, never a 0.

    Args:
        path: The file to make.
        aus: Units, in the order of the columns.
        threshold: Intensity from which a unit counts as present.
        with_file: Whether to add the file name as the last column `file`, for sets of photos.
        sides: Whether to add a column for each point, `AU12_left_r`.
        start: As in `Sink`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        aus: AUSet,
        threshold: float,
        *,
        with_file: bool = False,
        sides: bool = False,
        start: int | None = None,
    ) -> None:
        super().__init__(path, start)
        self.aus, self.threshold, self.with_file, self.sides = aus, threshold, with_file, sides

    @property
    def header(self) -> list[str]:
        """Names of the columns."""
        return [
            *("frame", "face_id", "timestamp", "confidence", "success"),
            *(f"gaze_{eye}_{axis}" for eye in (0, 1) for axis in "xyz"),
            *("gaze_angle_x", "gaze_angle_y"),
            *("pose_Tx", "pose_Ty", "pose_Tz", "pose_Rx", "pose_Ry", "pose_Rz"),
            *(f"{name}_r" for name in self.aus.names),
            *(f"{name}_c" for name in self.aus.names),
            *(f"{name}_u" for name in self.aus.names),
            *((f"{name}_r" for name in self.aus.point_names) if self.sides else ()),
            *("eye_aspect_left", "eye_aspect_right", "quality", "reason"),
            *(("file",) if self.with_file else ()),
        ]

    def __enter__(self) -> Self:
        super().__enter__()
        self._writer = csv.writer(self._stream, lineterminator="\n")
        if self.start is None:
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
        levels = np.full(len(self.aus.point_names), np.nan)
        if reading and reading.success:
            values = reading.intensities.astype(np.float64)
            errors = reading.uncertainties.astype(np.float64)
            levels = reading.points[:, 2].astype(np.float64)
        shape = (reading and reading.geometry) or _UNKNOWN
        return [
            frame.index + 1,
            face.track_id if face else 0,
            f"{frame.timestamp_ms / 1000:.3f}",
            f"{face.confidence if face else 0.0:.3f}",
            int(bool(reading and reading.success)),
            *_cells([*shape.gaze[1], *shape.gaze[0], *shape.gaze_angles]),
            *_cells(shape.translation, 1),
            *_cells(shape.rotation),
            *_cells(values),
            *("" if math.isnan(value) else int(value >= self.threshold) for value in values),
            *_cells(errors),
            *(_cells(levels) if self.sides else ()),
            *_cells([*shape.eye_aspect, reading.quality if reading else math.nan]),
            reading.reason if reading else "no_face",
            *((frame.name,) if self.with_file else ()),
        ]


def _cells(values: Iterable[float], places: int = 3) -> list[str]:
    return ["" if math.isnan(value) else f"{value:.{places}f}" for value in values]


_UNKNOWN = FaceGeometry(
    np.full(3, np.nan), np.full(3, np.nan), np.full((2, 3), np.nan), np.full(2, np.nan)
)


class JsonLinesSink(TextSink):
    """Writes `json_line` for each frame: what the CSV has, and every point."""

    def append(self, frame: Frame, readings: Sequence[AUReading]) -> None:
        """Writes the line of one frame."""
        self._stream.write(json_line(frame, readings) + "\n")


def json_line(frame: Frame, readings: Sequence[AUReading]) -> str:
    """Puts the readings of one frame into one line of JSON.

    `{"frame": 1, "timestamp": 0.0, "name": ..., "faces": [{"face_id": 0, "confidence": 1.0,
    "success": true, "reason": "", "quality": 1.0, "yaw_deg": 3.0, "pitch_deg": 0, "roll_deg": 0,
    "gaze_angle": [x, y], "eye_aspect": [left, right], "intensities": {"AU12": 2.4},
    "uncertainties": {"AU12": 0.6}, "points": {"AU12_left": [x, y, intensity]}}]}`, with points
    in frame pixels and null for what is not known.
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

    The first frame sets the size; a later frame of another size is scaled to it. An `.mp4` is
    written as a transport stream, which can be cut and continued anywhere, and packed at the end.

    Args:
        path: The file to make; its suffix chooses the format, see `VideoSink.suffix`.
        rate: Frames per second. An `.avi` plays at this rate; in an `.mp4` the times of the frames
            count, and it only helps the encoder.
        start: As in `Sink`; an `.avi` cannot go on.
        audio: A video whose sound an `.mp4` gets, if it has any.
        preset: Of the encoder: how long it tries to make the file smaller.

    Raises:
        ValueError: If the suffix is another one, or there is no PyAV for an `.mp4`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        rate: float | None = None,
        start: int | None = None,
        *,
        audio: Path | None = None,
        preset: str = "veryfast",
    ) -> None:
        super().__init__(path, start)
        self.audio, self.preset = audio, preset
        if self.path.suffix not in (".mp4", ".avi"):
            raise ValueError(f"`path` must end in .mp4 or .avi. Received: path={self.path}")
        self._av: Any = load_pyav() if self.path.suffix == ".mp4" else None
        if self.path.suffix == ".mp4" and self._av is None:
            raise ValueError(
                "Writing .mp4 needs PyAV; `pip install 'tfau[video]'` brings it, or write .avi."
            )
        if start is not None and not self._av:
            raise ValueError("An .avi cannot go on where it stopped; `--no-pictures` can.")
        self.rate = rate if rate and 0.1 <= rate <= 1000 else 30.0
        self._size: tuple[int, int] | None = None
        self._pts = -1
        self._disk: BinaryIO | None = None
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
        if self._file is None:
            self._open(*self._size)
        width, height = self._size
        beside, below = width - image.shape[1], height - image.shape[0]
        if 0 <= beside <= 1 and 0 <= below <= 1:
            image = cv2.copyMakeBorder(image, 0, below, 0, beside, cv2.BORDER_REPLICATE)  # type: ignore[assignment]
        else:
            image = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        if not self._av:
            self._file.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            return
        # OpenCV turns RGB into what the encoder takes in a third of FFmpeg's time.
        planes = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
        frame = self._av.VideoFrame.from_ndarray(planes, format="yuv420p")
        self._pts = max(self._pts + 1, round(timestamp_ms * _TICKS_PER_MS))
        frame.pts, frame.time_base = self._pts, Fraction(1, 1000 * _TICKS_PER_MS)
        self._file.mux(self._stream.encode(frame))

    def mark(self) -> int:
        """Ends a stretch of the stream, puts it on the disk and returns its size in bytes."""
        if not self._av:
            return super().mark()
        if self._disk is None:
            self._disk = self._reopen()
        self._end_stretch()
        self._disk.flush()
        os.fsync(self._disk.fileno())
        return self._disk.tell()

    def _open(self, width: int, height: int) -> None:
        if not self._av:
            code = cv2.VideoWriter.fourcc(*"MJPG")
            self._file = cv2.VideoWriter(
                os.fspath(self._part), cv2.CAP_OPENCV_MJPEG, code, self.rate, (width, height)
            )
            if not self._file.isOpened():
                raise OSError(f"{self.path} cannot be written.")
            return
        if self._disk is None:
            self._disk = self._reopen()
        self._file = self._av.open(self._disk, "w", format="mpegts")
        rate = Fraction(self.rate).limit_denominator(1001)
        # Without B frames the packets are in the order of the frames: stretches can be joined.
        self._stream = self._file.add_stream(
            "libx264", rate=rate, options={"crf": "20", "bf": "0", "preset": self.preset}
        )
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, 1000 * _TICKS_PER_MS)

    def _end_stretch(self) -> None:
        if self._file is not None and self._av:
            self._file.mux(self._stream.encode())
            self._file.close()
            self._file = None

    def _close(self) -> None:
        if not self._av:
            if self._file is not None:
                self._file.release()
            return
        try:
            self._end_stretch()
        finally:
            if self._disk is not None:
                self._disk.close()

    def _finish(self) -> None:
        self._close()
        if self._av and self._disk is not None:
            self._pack()

    def _pack(self) -> None:
        """Packs the transport stream into an .mp4, without encoding anything again."""
        packed = self._part.with_suffix(".packed.mp4")
        try:
            with (
                contextlib.ExitStack() as stack,
                self._av.open(os.fspath(self._part), format="mpegts") as stretches,
                self._av.open(
                    os.fspath(packed), "w", format="mp4", options={"movflags": "faststart"}
                ) as file,
            ):
                source = stretches.streams.video[0]
                target = file.add_stream_from_template(source)
                sound = stack.enter_context(_Sound(self._av, self.audio, file))
                first = None
                for packet in stretches.demux(source):
                    if packet.pts is None:
                        continue
                    first = packet.pts if first is None else first
                    packet.pts = packet.dts = packet.pts - first
                    packet.stream = target
                    sound.until(float(packet.pts * source.time_base))
                    file.mux(packet)
                sound.until(math.inf)
            # Only now may the stream go: until then it is what was computed.
            os.replace(packed, self._part)
        finally:
            packed.unlink(missing_ok=True)


class _Sound:
    """Copies the sound of a video into another, bit by bit as its pictures come.

    What an `.mp4` cannot hold is encoded as AAC. A video without sound, or with damaged sound, is
    written without.
    """

    _FIT = ("aac", "mp3", "ac3", "alac", "flac", "opus")

    def __init__(self, av: Any, path: Path | None, target: Any) -> None:
        self._av, self._path, self._target = av, path, target
        self._file: Any = None
        self._packets: Iterator[tuple[float, Any]] = iter(())

    def __enter__(self) -> Self:
        with contextlib.suppress(self._av.FFmpegError):
            self._file = self._av.open(os.fspath(self._path)) if self._path else None
        if self._file is not None and self._file.streams.audio:
            source = self._file.streams.audio[0]
            if source.codec_context.name in self._FIT:
                stream = self._target.add_stream_from_template(source)
            else:
                stream = self._target.add_stream("aac", rate=source.codec_context.sample_rate)
            self._packets = self._read(source, stream)
        self._next = next(self._packets, None)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def until(self, time_s: float) -> None:
        """Writes the sound up to a time."""
        while self._next is not None and self._next[0] <= time_s:
            self._target.mux(self._next[1])
            self._next = next(self._packets, None)

    def _read(self, source: Any, stream: Any) -> Iterator[tuple[float, Any]]:
        video = self._file.streams.video[0] if self._file.streams.video else None
        # Our pictures begin at 0; theirs may not.
        begin_s = float(video.start_time * video.time_base) if video and video.start_time else 0.0
        copied = source.codec_context.name in self._FIT
        try:
            for packet in self._file.demux(source):
                if packet.pts is None:
                    continue
                if copied:
                    shift = round(begin_s / packet.time_base)
                    packet.pts, packet.dts = packet.pts - shift, (packet.dts or packet.pts) - shift
                    if packet.pts < 0:
                        continue
                    packet.stream = stream
                    yield float(packet.pts * packet.time_base), packet
                    continue
                for frame in packet.decode():
                    frame.pts = None
                    for coded in stream.encode(frame):
                        yield float(coded.pts * coded.time_base), coded
            for coded in () if copied else stream.encode(None):
                yield float(coded.pts * coded.time_base), coded
        except self._av.FFmpegError:
            return  # damaged from here on


def write_parquet(table: Path, path: Path) -> None:
    """Writes a CSV of `CsvSink` as Parquet, in constant memory.

    Args:
        table: The CSV.
        path: The file to make.
    """
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    with table.open(encoding="utf-8") as stream:
        names = next(csv.reader(stream))
    kinds = {"frame": "int64", "face_id": "int64", "success": "int8"}
    texts = ("reason", "file")
    types = {name: kinds.get(name, "string" if name in texts else "float64") for name in names} | {
        name: "int8" for name in names if name.endswith("_c")
    }
    # A text may be empty; a number that is empty is not known.
    options = arrow_csv.ConvertOptions(column_types=types, strings_can_be_null=False)
    with (
        whole_file(path) as unfinished_path,
        arrow_csv.open_csv(table, convert_options=options) as batches,
        parquet.ParquetWriter(unfinished_path, batches.schema) as writer,
    ):
        for batch in batches:
            writer.write_batch(batch)


_TICKS_PER_MS = 90  # 90 kHz, the clock of MPEG


def unfinished(path: Path) -> Path:
    """Names the file beside `path` that is written first; the suffix stays the same."""
    return path.with_name(f"{path.stem}.part{path.suffix}")


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
        "quality": _number(reading.quality),
        **(_shape(reading.geometry) if reading.geometry else {}),
        "intensities": by_unit(reading.intensities),
        "uncertainties": by_unit(reading.uncertainties),
        "points": {name: [_number(value) for value in point] for name, point in points},
    }


def _shape(shape: FaceGeometry) -> dict[str, Any]:
    names = ("yaw_deg", "pitch_deg", "roll_deg")
    roll_deg = -math.degrees(shape.rotation[2])
    angles = dict(zip(names, map(_number, (shape.yaw_deg, shape.pitch_deg, roll_deg)), strict=True))
    return {
        **angles,
        "gaze_angle": [_number(angle) for angle in shape.gaze_angles],
        "eye_aspect": [_number(ratio) for ratio in shape.eye_aspect],
    }
