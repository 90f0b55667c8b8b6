"""From a recording to crops with labels, in a file. No TensorFlow: every worker imports this.

Such a file holds the examples of one recording and says what was left out. It is written whole,
and its name follows from all that its content depends on, so that a stopped preparation finds it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
import time
import zipfile
import zlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Self

import cv2
import numpy as np
import numpy.typing as npt

from edge import face_mesh
from edge.sources import VideoSource
from edge.warp import crop_face
from tfau.core.action_units import AUSet
from tfau.core.align import FaceAligner
from tfau.core.errors import DatasetError, SourceError
from tfau.core.examples import AUExample
from tfau.core.faces import MESH_VERTICES, au_points
from tfau.core.files import whole_file
from tfau.core.quiet import quiet_natives
from tfds_builders.pictures import in_folder, in_zip
from tfds_builders.recordings import CodedFrame, Recording, Report
from tfds_builders.schema import row
from tfds_builders.workers import Advance

Picture = npt.NDArray[np.uint8]

NOT_CODED = "not coded"
NO_PICTURE = "no picture"
UNREADABLE = "unreadable picture"
NO_FACE = "no face found"

JPEG_QUALITY = 95
_FORMAT = 1
_WHOLE = ("image", "ends", "left_out")  # what a file does not hold by example
_OWN = threading.local()


@dataclass(frozen=True)
class Task:
    """Names a recording to prepare, and the file that holds what came of it.

    Args:
        recording: The recording.
        units: FACS numbers of the units that an example has.
        crop_size: Side of the crops, px.
        path: The file.
    """

    recording: Recording
    units: tuple[int, ...]
    crop_size: int
    path: Path

    @classmethod
    def plan(
        cls, recording: Recording, units: tuple[int, ...], crop_size: int, folder: Path
    ) -> Self:
        """Finds the name of the file: other labels, media, crops or models make another one."""
        media = recording.media.stat()
        content = (
            _FORMAT,
            face_mesh.SHA256,
            FaceAligner(crop_size).template.tolist(),
            JPEG_QUALITY,
            units,
            dataclasses.replace(recording, media=recording.media.resolve()),
            (media.st_size, media.st_mtime_ns),
        )
        key = hashlib.sha256(repr(content).encode()).hexdigest()[:24]
        return cls(recording, units, crop_size, folder / f"{key}.npz")

    @property
    def is_done(self) -> bool:
        """Whether the file is there."""
        return zipfile.is_zipfile(self.path)

    def do(self, advance: Advance | None = None) -> dict[str, float]:
        """Makes the file, unless it is there.

        Args:
            advance: Told, frame by frame, how many coded ones have been dealt with.

        Returns:
            The seconds that were spent on `decode`, `mesh`, `crop` and `write`.
        """
        spent: dict[str, float] = {}
        if self.is_done:
            return spent
        rows, left_out = [], []
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        for frame, example in examples(self.recording, AUSet(self.units), self.crop_size, spent):
            start = time.perf_counter()
            if isinstance(example, str):
                left_out.append((self.recording.sequence, frame.number, example))
            else:
                bgr = cv2.cvtColor(example.image, cv2.COLOR_RGB2BGR)
                rows.append(row(example, cv2.imencode(".jpg", bgr, quality)[1].tobytes()))
            _lap(spent, "crop", start)
            if advance is not None:
                advance(int(frame.is_coded))
        start = time.perf_counter()
        _save(self.path, rows, left_out)
        _lap(spent, "write", start)
        return spent

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields the examples as TFDS takes them, with their keys; makes the file if need be."""
        self.do()
        columns = self._load()
        jpeg, ends = columns["image"].tobytes(), columns["ends"].tolist()
        for index, start in enumerate([0, *ends[:-1]] if ends else ()):
            example = {
                name: column[index] if column.ndim > 1 else column[index].item()
                for name, column in columns.items()
                if name not in _WHOLE
            }
            key = f"{self.recording.sequence}-{example['frame']:06d}"
            yield key, example | {"image": jpeg[start : ends[index]]}

    @property
    def count(self) -> int:
        """How many examples there are in the file."""
        return len(self._load("ends")["ends"])

    def left_out(self) -> list[tuple[str, int, str]]:
        """Reads which frames are no examples: sequence, frame, reason."""
        found: list[tuple[str, int, str]] = json.loads(self._load("left_out")["left_out"].item())
        return found

    def _load(self, *names: str) -> dict[str, npt.NDArray[Any]]:
        """Reads some or all columns of the file."""
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in names or arrays.files}
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
            self.path.unlink(missing_ok=True)
            raise DatasetError(
                f"{self.path} was damaged and is deleted now; start again to make it anew."
            ) from None


def pictures(recording: Recording) -> Iterator[tuple[CodedFrame, Picture | str]]:
    """Reads the pictures of a recording.

    Yields:
        Each coded frame with its (H, W, 3) uint8 RGB picture, or with the reason why there is
        none. Frames of a video that nothing is said about are yielded too, as not coded.
    """
    media = recording.media
    if media.is_dir():
        yield from _from_files(recording, lambda name: (media / name).read_bytes())
    elif zipfile.is_zipfile(media):
        with zipfile.ZipFile(media) as archive:
            yield from _from_files(recording, archive.read)
    else:
        yield from _from_video(recording)


def examples(
    recording: Recording, aus: AUSet, crop_size: int, spent: dict[str, float] | None = None
) -> Iterator[tuple[CodedFrame, AUExample | str]]:
    """Finds the face in each picture of a recording and cuts it out.

    Args:
        recording: What was filmed and coded.
        aus: The units that an example has.
        crop_size: Side of the crops, px.
        spent: Takes the seconds that are spent on `decode`, `mesh` and `crop`.

    Yields:
        Each frame with its example, or with the reason why there is none.
    """
    spent = {} if spent is None else spent
    aligner = FaceAligner(crop_size)
    if not hasattr(_OWN, "mesh"):  # LiteRT's interpreters belong to one thread
        _OWN.mesh = face_mesh.FaceMesh()
    start = time.perf_counter()
    for frame, picture in pictures(recording):
        start = _lap(spent, "decode", start)
        example: AUExample | str = NO_FACE
        if isinstance(picture, str):
            example = picture
        else:
            faces = _OWN.mesh.detect(picture)
            start = _lap(spent, "mesh", start)
            if faces:
                example = _example(recording, frame, picture, faces[0].mesh, aus, aligner)
                _lap(spent, "crop", start)
        yield frame, example
        start = time.perf_counter()


def note_uncoded(recordings: Iterable[Recording], report: Report) -> None:
    """Notes the pictures that lie in a folder or zip beside coded ones, and have no code."""
    coded: dict[Path, dict[PurePosixPath, str]] = defaultdict(dict)
    for recording in recordings:
        for frame in recording.frames:
            if isinstance(frame.picture, str):
                coded[recording.media][PurePosixPath(frame.picture)] = recording.sequence
    for media, sequences in coded.items():
        places = {path.parent: sequence for path, sequence in sequences.items()}
        if media.is_dir():
            here = [place for place in places if (media / place).is_dir()]
            found = [place / name for place in here for name in in_folder(media / place)]
        else:
            found = [PurePosixPath(name) for name in in_zip(media)]
        for path in found:
            if path.parent in places and path not in sequences:
                report.left_out(places[path.parent], str(path), NOT_CODED)


def _from_files(
    recording: Recording, load: Callable[[str], bytes]
) -> Iterator[tuple[CodedFrame, Picture | str]]:
    for frame in recording.frames:
        if not frame.is_coded:
            yield frame, NOT_CODED
            continue
        try:
            data = load(str(frame.picture))
        except (KeyError, FileNotFoundError):
            yield frame, NO_PICTURE
        except (OSError, RuntimeError, zipfile.BadZipFile, zlib.error):
            yield frame, UNREADABLE
        else:
            yield frame, _decode(data)


def _decode(data: bytes) -> Picture | str:
    with quiet_natives():
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:
            image = None
    return UNREADABLE if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


def _from_video(recording: Recording) -> Iterator[tuple[CodedFrame, Picture | str]]:
    waiting = deque(sorted(recording.frames, key=lambda frame: int(frame.picture)))
    # How the owners count the frames that they say nothing about.
    first = waiting[0].number - int(waiting[0].picture) if waiting else 0
    lack = NO_PICTURE
    try:
        with VideoSource(recording.media) as video:
            for shown in video:
                frame = CodedFrame(number=first + shown.index, picture=shown.index)
                if waiting and waiting[0].picture == shown.index:
                    frame = waiting.popleft()
                yield frame, shown.image if frame.is_coded else NOT_CODED
    except SourceError:
        lack = UNREADABLE
    for frame in waiting:
        yield frame, lack


def _example(
    recording: Recording,
    frame: CodedFrame,
    picture: Picture,
    mesh: npt.NDArray[np.float32],
    aus: AUSet,
    aligner: FaceAligner,
) -> AUExample | str:
    """Cuts out a face; the reason why not if its mesh has collapsed."""
    try:
        matrix = aligner.matrix(mesh)
    except ValueError:
        return NO_FACE
    depth = mesh[:MESH_VERTICES, 2:] * np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    mesh = np.hstack([aligner.transform(mesh[:MESH_VERTICES, :2], matrix), depth])
    intensity = [frame.intensity.get(number, np.nan) for number in aus.numbers]
    points = np.column_stack([au_points(mesh, aus), aus.spread(intensity, intensity)])
    for index, name in enumerate(aus.point_names):
        if name in frame.places:
            points[index, :2] = aligner.transform(frame.places[name], matrix)
        if name in frame.sides:
            points[index, 2] = frame.sides[name]
    return AUExample(
        image=crop_face(picture, matrix, aligner.crop_size),
        points=points.astype(np.float32),
        subject=recording.subject,
        sequence=recording.sequence,
        frame=frame.number,
        presence=np.array([frame.presence.get(n, np.nan) for n in aus.numbers], np.float32),
        group=recording.group,
        emotion=frame.emotion,
        mesh=mesh.astype(np.float32),
    )


def _save(path: Path, rows: list[dict[str, Any]], left_out: list[tuple[str, int, str]]) -> None:
    """Writes rows by column: the pictures end to end, the rest stacked."""
    pictures = [example.pop("image") for example in rows]
    with whole_file(path) as unfinished:
        np.savez(
            unfinished,
            allow_pickle=False,
            image=np.frombuffer(b"".join(pictures), np.uint8),
            ends=np.cumsum([len(picture) for picture in pictures], dtype=np.int64),
            left_out=np.array(json.dumps(left_out)),
            **{
                name: np.array([example[name] for example in rows])
                for name in (rows[0] if rows else ())
            },
        )


def _lap(spent: dict[str, float], stage: str, start: float) -> float:
    """Books the seconds since `start` on a stage, and returns the time."""
    now = time.perf_counter()
    spent[stage] = spent.get(stage, 0.0) + now - start
    return now
