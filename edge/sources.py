"""Where frames come from: photo, folder, video file, camera, stream. BGR ends here."""

from __future__ import annotations

import importlib.util
import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import numpy.typing as npt

from tfau.core import SourceError
from tfau.core.quiet import quiet_natives

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, eq=False)
class Frame:
    """Holds one picture on its way through the program.

    Args:
        index: Number of the frame in its source, from 0.
        timestamp_ms: Time since the first frame; 0 for photos.
        image: (H, W, 3) uint8 RGB, upright.
        name: File it comes from, or the camera.
    """

    index: int
    timestamp_ms: float
    image: npt.NDArray[np.uint8]
    name: str


class Source(ABC):
    """Yields frames. A context manager, to be iterated once.

    Attributes:
        stem: What the answers are named after: file name without suffix, or folder name.
        paths: The files that are read.
        count: Number of frames, as far as it is known; None if it is not.
        rate: Frames per second as declared; None if there is no such thing.
    """

    stem: str
    paths: Sequence[Path] = ()
    count: int | None = None
    rate: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027  photos have nothing to close
        """Lets go of the file or device."""

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Yields the frames in order; raises `SourceError` where one cannot be read."""


class ImageSource(Source):
    """Yields photos.

    EXIF orientation is applied, grey pictures become RGB, transparency is dropped and 16 bits
    become 8.

    Args:
        paths: The files, in order.
        stem: What the answers are named after.
    """

    def __init__(self, paths: Sequence[Path], stem: str) -> None:
        self.paths, self.stem, self.count = list(paths), stem, len(paths)

    @classmethod
    def of_folder(cls, folder: Path) -> ImageSource:
        """Takes the pictures of a folder, not of its subfolders: `2.jpg` before `10.jpg`.

        Raises:
            SourceError: If there is none.
        """
        paths = [
            path
            for path in folder.iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
        ]
        if not paths:
            raise SourceError(f"{folder} holds no picture ({', '.join(IMAGE_SUFFIXES)}).")
        return cls(sorted(paths, key=_natural), folder.resolve().name)

    def __iter__(self) -> Iterator[Frame]:
        """Yields the photos in order."""
        for index, path in enumerate(self.paths):
            yield Frame(index, 0.0, read_image(path), path.name)


class VideoSource(Source):
    """Yields the frames of a video file, turned upright, with their presentation times.

    With PyAV (`pip install 'tfau[video]'`) the times are those of the file, also where the frame
    rate varies. Without it OpenCV reads the file, whose times drift on such videos, and which
    takes the damaged end of a file for its end.

    Args:
        path: The file.

    Raises:
        SourceError: If the file is missing, empty, or no video.
    """

    def __init__(self, path: Path) -> None:
        _check_file(path)
        with path.open("rb") as stream:
            # FFmpeg would play a text file as the screen of a terminal.
            if b"\0" not in stream.read(4096):
                raise SourceError(f"{path} is no picture and no video.")
        self.path, self.stem, self.paths = path, path.stem, [path]
        self._av: Any = load_pyav()
        if self._av:
            try:
                self._file: Any = self._av.open(os.fspath(path))
                self._stream = self._file.streams.video[0]
            except (self._av.FFmpegError, IndexError):
                raise SourceError(f"{path} is no video, or a damaged one.") from None
            self._stream.thread_type = "AUTO"
            self.count = self._stream.frames or None
            self.rate = float(self._stream.average_rate or 0) or None
        else:
            with quiet_natives():
                self._file = cv2.VideoCapture(os.fspath(path))
            if not self._file.isOpened():
                raise SourceError(f"{path} is no video, or a damaged one.")
            self.count = max(int(self._file.get(cv2.CAP_PROP_FRAME_COUNT)), 0) or None
            self.rate = self._file.get(cv2.CAP_PROP_FPS) or None

    def close(self) -> None:
        """Closes the file."""
        if self._av:
            self._file.close()
        else:
            self._file.release()

    def __iter__(self) -> Iterator[Frame]:
        """Yields the frames; `SourceError` if the file is cut off or damaged on the way."""
        index = -1
        for index, (timestamp_ms, image) in enumerate(
            self._decode() if self._av else _capture(self._file)
        ):
            if index == 0:
                start_ms = timestamp_ms
            yield Frame(index, timestamp_ms - start_ms, image, self.path.name)
        if index < 0:
            raise SourceError(f"{self.path} holds no frame that can be read.")

    def _decode(self) -> Iterator[tuple[float, npt.NDArray[np.uint8]]]:
        step_ms = 1000.0 / (self.rate or 30.0)
        timestamp_ms = -step_ms
        done = 0
        try:
            for frame in self._file.decode(self._stream):
                # Raw streams carry no times; the declared rate is all there is to go by.
                timed = frame.time is not None
                timestamp_ms = frame.time * 1000.0 if timed else timestamp_ms + step_ms
                image = frame.to_ndarray(format="rgb24")
                turns = round(getattr(frame, "rotation", 0) / 90)
                yield timestamp_ms, np.ascontiguousarray(np.rot90(image, turns))
                done += 1
        except self._av.FFmpegError:
            raise SourceError(f"{self.path} is damaged after {done} frames.") from None


class LiveSource(Source):
    """Yields frames of a camera or network stream as they come.

    Args:
        where: Number of the camera, from 0, or a URL that OpenCV can open (rtsp, http).

    Raises:
        SourceError: If it cannot be opened.
    """

    def __init__(self, where: int | str) -> None:
        self.stem = f"camera {where}" if isinstance(where, int) else where
        with quiet_natives():
            self._capture = cv2.VideoCapture(where)  # type: ignore[call-overload, unused-ignore]
        if not self._capture.isOpened():
            hint = "Is it plugged in, and not in use?" if isinstance(where, int) else "Is it up?"
            raise SourceError(f"{self.stem} cannot be opened. {hint}")
        # A slow reader wants the newest frame, not the oldest one in a queue.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    def close(self) -> None:
        """Frees the camera."""
        self._capture.release()

    def __iter__(self) -> Iterator[Frame]:
        """Yields frames until the stream ends; `SourceError` if it never starts."""
        start, index = time.monotonic(), -1
        for index, (_, image) in enumerate(_capture(self._capture)):
            if index == 0:
                start = time.monotonic()
            yield Frame(index, (time.monotonic() - start) * 1000.0, image, self.stem)
        if index < 0:
            raise SourceError(f"{self.stem} gives no picture.")


def open_source(where: str) -> Source:
    """Opens whatever the user named.

    Args:
        where: A photo, a folder of photos, a video file, the number of a camera, or a URL.

    Returns:
        The source, to be used in a `with`.

    Raises:
        SourceError: If there is no such thing or it cannot be opened.
    """
    if where.isdecimal() and not Path(where).exists():
        return LiveSource(int(where))
    if "://" in where:
        return LiveSource(where)
    path = Path(where)
    if path.is_dir():
        return ImageSource.of_folder(path)
    _check_file(path)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageSource([path], path.stem)
    return VideoSource(path)


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Reads a photo.

    Returns:
        (H, W, 3) uint8 RGB, upright as its EXIF says.

    Raises:
        SourceError: If the file is missing, empty, cut off, or no picture.
    """
    _check_file(path)
    data = np.frombuffer(path.read_bytes(), np.uint8)
    with quiet_natives():
        try:
            image = cv2.imdecode(data, cv2.IMREAD_COLOR)
        except cv2.error:
            image = None
    if image is None:
        raise SourceError(f"{path} is no picture that can be read, or a damaged one.")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


def load_pyav() -> Any | None:
    """Returns the `av` package if it is installed, else None."""
    return importlib.import_module("av") if importlib.util.find_spec("av") else None


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise SourceError(f"There is no file {path}.")
    if not path.stat().st_size:
        raise SourceError(f"{path} is empty.")


def _natural(path: Path) -> list[tuple[bool, int, str]]:
    """Sorts numbers inside names by value."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def _capture(capture: cv2.VideoCapture) -> Iterator[tuple[float, npt.NDArray[np.uint8]]]:
    """Yields time and picture of each frame that OpenCV gives."""
    while True:
        with quiet_natives():
            found, image = capture.read()
        if not found:
            return
        timestamp_ms = capture.get(cv2.CAP_PROP_POS_MSEC)
        yield timestamp_ms, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)  # type: ignore[misc]
