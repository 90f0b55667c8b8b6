"""Where frames come from: photo, folder, video file, camera, stream. BGR ends here."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
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
        start: Frames to pass over at the beginning; those that come keep their `index`.
        clock_s: `time.monotonic()` at the first frame of a live source.
        broken: What could not be read so far: frames of a video, pictures of a folder.
    """

    stem: str
    paths: Sequence[Path] = ()
    count: int | None = None
    rate: float | None = None
    start: int = 0
    clock_s: float = 0.0
    broken: int = 0

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

    EXIF orientation is applied, grey and CMYK pictures become RGB, transparency is dropped, 16 bits
    become 8, and of an animation the first picture counts. Pictures of a folder that cannot be
    read are counted and passed over; if it is the only one, or all are, that is an error.

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
        for index, path in enumerate(self.paths[self.start :], self.start):
            try:
                yield Frame(index, 0.0, read_image(path), path.name)
            except SourceError as error:
                self.broken += 1
                if self.broken == len(self.paths):
                    raise
                print(f"tfau: {error} It is left out.", file=sys.stderr)


class VideoSource(Source):
    """Yields the frames of a video file, turned upright, with their presentation times.

    With PyAV (`pip install 'tfau[video]'`) the times are those of the file, also where the frame
    rate varies, and damaged parts are counted and passed over. Without it OpenCV reads the file,
    whose times drift on such videos, and which takes the damaged end of a file for its end.

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
        """Yields the frames; `SourceError` if not one can be read."""
        index, start_ms, last_ms, step_ms = -1, 0.0, 0.0, 0.0
        for index, (timestamp_ms, picture) in enumerate(
            self._decode() if self._av else self._capture()
        ):
            if index == 0:
                start_ms = timestamp_ms
            elif timestamp_ms - start_ms < last_ms:  # joined files, whose clock begins anew
                start_ms = timestamp_ms - last_ms - step_ms
            step_ms, last_ms = timestamp_ms - start_ms - last_ms, timestamp_ms - start_ms
            if index >= self.start:
                yield Frame(index, last_ms, picture(), self.path.name)
        if index < 0:
            raise SourceError(f"{self.path} holds no frame that can be read.")
        # A file that breaks off ends without a word; only its header knows better.
        self.broken = max(self.broken, (self.count or 0) - index - 1)

    def _decode(self) -> Iterator[tuple[float, _Picture]]:
        step_ms = 1000.0 / (self.rate or 30.0)
        timestamp_ms = -step_ms
        packets = self._file.demux(self._stream)
        while True:
            try:
                packet = next(packets)
                frames = packet.decode()
            except StopIteration:
                return
            except self._av.FFmpegError:
                self.broken += 1
                # A file whose packets cannot be told apart any more would fail for ever.
                if self.broken > _MAX_BROKEN:
                    return
                continue
            for frame in frames:
                # Raw streams carry no times; the declared rate is all there is to go by.
                timed = frame.time is not None
                timestamp_ms = frame.time * 1000.0 if timed else timestamp_ms + step_ms

                def picture(frame: Any = frame) -> npt.NDArray[np.uint8]:
                    turns = round(getattr(frame, "rotation", 0) / 90)
                    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))

                yield timestamp_ms, picture

    def _capture(self) -> Iterator[tuple[float, _Picture]]:
        for timestamp_ms, image in _capture(self._file):
            yield timestamp_ms, lambda image=image: image  # type: ignore[misc]


class LiveSource(Source):
    """Yields frames of a camera or network stream as they come.

    A camera that is unplugged or a stream that stalls is waited for and opened again; its time
    goes on meanwhile. A network file that has an end ends there.

    Args:
        where: Number of a camera, from 0; a URL that OpenCV can open (rtsp, http); or `picamera`,
            the camera of a Raspberry Pi by its picamera2 library, which is also tried where
            OpenCV cannot open a numbered camera.
        patience_s: For how long to wait for a camera that was lost.

    Raises:
        SourceError: If it cannot be opened.
    """

    def __init__(self, where: int | str, patience_s: float = 60.0) -> None:
        self.stem = f"camera {where}" if isinstance(where, int) else where
        self.where, self.patience_s = where, patience_s
        self._device = self._open()
        if self._device is None:
            hint = "Is it plugged in, and not in use?" if isinstance(where, int) else "Is it up?"
            raise SourceError(f"{self.stem} cannot be opened. {hint}")

    def close(self) -> None:
        """Frees the camera."""
        if self._device is not None:
            self._device.release()

    def __iter__(self) -> Iterator[Frame]:
        """Yields frames until the stream ends; `SourceError` if it never starts or is lost."""
        index = -1
        while self._device is not None:
            with quiet_natives():
                found, image = self._device.read()
            if found:
                index += 1
                if index == 0:
                    self.clock_s = time.monotonic()
                now_ms = (time.monotonic() - self.clock_s) * 1000.0
                yield Frame(index, now_ms, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), self.stem)
            elif index < 0:
                raise SourceError(f"{self.stem} gives no picture.")
            elif self._device.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
                return
            else:
                self._reconnect()

    def _reconnect(self) -> None:
        self.close()
        print(f"tfau: {self.stem} is lost; waiting for it", file=sys.stderr)
        lost, pause_s = time.monotonic(), 0.25
        while time.monotonic() - lost < self.patience_s:
            time.sleep(pause_s)
            self._device = self._open()
            if self._device is not None:
                print(f"tfau: {self.stem} is back", file=sys.stderr)
                return
            pause_s = min(2 * pause_s, 4.0)
        raise SourceError(f"{self.stem} was lost and did not come back in {self.patience_s:.0f} s.")

    def _open(self) -> Any | None:
        """Opens the device: what has the `read`, `get` and `release` of OpenCV's VideoCapture."""
        if self.where == "picamera":
            return _PiCamera.open(0)
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _STALL_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC]
        with quiet_natives():
            if isinstance(self.where, int):
                capture = cv2.VideoCapture(self.where)
            else:
                capture = cv2.VideoCapture(self.where, cv2.CAP_FFMPEG, [*limits, _STALL_MS])
        if capture.isOpened():
            # A slow reader wants the newest frame, not the oldest one in a queue.
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            return capture
        return _PiCamera.open(self.where) if isinstance(self.where, int) else None


class _PiCamera:
    """Gives picamera2 the face of OpenCV's VideoCapture."""

    def __init__(self, camera: Any) -> None:
        self._camera = camera

    @classmethod
    def open(cls, number: int) -> _PiCamera | None:
        """Starts a camera; None if there is none, or no picamera2."""
        if not importlib.util.find_spec("picamera2"):
            return None
        library = importlib.import_module("picamera2")
        if len(library.Picamera2.global_camera_info()) <= number:
            return None
        camera = library.Picamera2(number)
        # What picamera2 calls RGB888 is BGR in memory.
        main = {"size": (640, 480), "format": "RGB888"}
        camera.configure(camera.create_video_configuration(main=main))
        camera.start()
        return cls(camera)

    def read(self) -> tuple[bool, Any]:
        """Waits for the next frame, BGR."""
        try:
            return True, self._camera.capture_array("main")
        except RuntimeError:
            return False, None

    def get(self, _: int) -> float:
        """Returns 0: a camera has no number of frames."""
        return 0.0

    def release(self) -> None:
        """Stops the camera."""
        self._camera.stop()
        self._camera.close()


_MAX_BROKEN = 1000
_STALL_MS = 10_000
_Picture = Callable[[], npt.NDArray[np.uint8]]


def open_source(where: str) -> Source:
    """Opens whatever the user named.

    Args:
        where: A photo, a folder of photos, a video file, the number of a camera, a URL, or
            `picamera`.

    Returns:
        The source, to be used in a `with`.

    Raises:
        SourceError: If there is no such thing or it cannot be opened.
    """
    if where.isdecimal() and not Path(where).exists():
        return LiveSource(int(where))
    if "://" in where or (where == "picamera" and not Path(where).exists()):
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
            if hasattr(cv2, "IMREAD_COLOR_RGB"):
                image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
            else:  # the OpenCV that 32-bit Debian has
                image = cv2.imdecode(data, cv2.IMREAD_COLOR)
                image = image if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        except cv2.error as error:
            if "CV_IO_MAX_IMAGE" in str(error):
                raise SourceError(f"{path} has more than 2^30 pixels.") from None
            image = None
    if image is None:
        raise SourceError(f"{path} is no picture that can be read, or a damaged one.")
    return np.asarray(image, np.uint8)


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
