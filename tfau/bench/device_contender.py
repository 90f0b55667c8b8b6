"""A contender of `python -m tfau.bench device`: reads frames of a clip, in a process of its own."""

from __future__ import annotations

import itertools
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge.analyzer import FaceAnalyzer
from edge.face_mesh import FaceMesh, FrontEnd
from edge.mediapipe_mesh import MediaPipeMesh
from edge.pipeline import yield_often
from edge.runtime import AUModel
from edge.sources import Frame, ImageSource, Source, open_source
from edge.stream import ReadingStream
from edge.warp import crop_face
from tfau.bench.turns import serve

MESH, FAST_MESH, MEDIAPIPE = "mesh", "fast mesh", "mediapipe"

_SIZE = 640, 480
_MOST_FRAMES = 300
_STAGE_FRAMES = 30

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Task:
    """Says who reads what.

    Args:
        front_end: `MESH`, `FAST_MESH` or `MEDIAPIPE`.
        clip: A photo, which is then moved about, or a video.
        model: A `.tflite`; without one only meshes are fitted.
        threads: Cores that the process may use.
        faces: How many copies of the clip a frame shows.
    """

    front_end: str
    clip: str
    model: str = ""
    threads: int = 1
    faces: int = 1


def load_clip(clip: str, faces: int) -> list[Image]:
    """Makes frames of 640 x 480 with a number of copies of a clip side by side.

    Args:
        clip: A photo with one face, or a video of one.
        faces: Copies.

    Raises:
        SourceError: If the clip cannot be read.
    """
    with open_source(clip) as source:
        still = isinstance(source, ImageSource)
        images = [frame.image for frame in itertools.islice(source, _MOST_FRAMES)]
    columns = math.ceil(math.sqrt(faces))
    width, height = _SIZE[0] // columns, _SIZE[1] // math.ceil(faces / columns)
    frames = []
    for index in range(100 if still else len(images)):
        image = images[0 if still else index]
        scale = min(width / image.shape[1], height / image.shape[0])
        matrix = np.array([[scale, 0, 0], [0, scale, 0]])
        if still:
            matrix[:, 2] = 0.03 * width * np.sin(index / np.array([5.0, 8.0]))
        tile = crop_face(image, matrix, max(width, height))[:height, :width]
        frame = np.zeros((_SIZE[1], _SIZE[0], 3), np.uint8)
        for place in range(faces):
            row, column = divmod(place, columns)
            top, left = row * height, column * width
            frame[top : top + height, left : left + width] = tile
        frames.append(frame)
    return frames


def _make(words: dict[str, Any]) -> tuple[Callable[[], object], dict[str, Any]]:
    task = Task(**words)
    if sys.platform == "linux":
        # Before any library starts threads: they inherit it.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task.threads])
        cv2.setNumThreads(task.threads)
    frames = load_clip(task.clip, task.faces)
    # As the commands do: mesh and model run side by side, each on half of the cores.
    threads = max(1, task.threads // 2) if task.model else task.threads
    mesh: FrontEnd = (
        MediaPipeMesh(max_faces=task.faces, follow=True)
        if task.front_end == MEDIAPIPE
        else FaceMesh(
            max_faces=task.faces,
            follow=True,
            fast=task.front_end == FAST_MESH,
            threads=threads,
        )
    )
    analyzer = FaceAnalyzer(AUModel(task.model, threads=threads), mesh) if task.model else None
    # Back and forth, so that no face jumps.
    order = itertools.cycle([*range(len(frames)), *range(len(frames) - 2, 0, -1)])
    clock = itertools.count()

    def next_frame() -> Frame:
        number = next(clock)
        return Frame(number, number * 1000 / 30, frames[next(order)], task.clip)

    def look() -> object:
        frame = next_frame()
        return mesh.detect(frame.image, frame.timestamp_ms)

    found = [len(mesh.detect(frame.image, frame.timestamp_ms)) for frame in (next_frame(),)]
    facts = {"faces": found[0], "stages": _stages(mesh, analyzer, next_frame)}
    if analyzer is None:
        return look, facts
    yield_often()
    answers = ReadingStream(analyzer).read(_Endless(next_frame))
    return lambda: next(answers), facts


class _Endless(Source):
    """Gives frames for ever."""

    def __init__(self, next_frame: Callable[[], Frame]) -> None:
        self.stem, self._next = "clip", next_frame

    def __iter__(self) -> Iterator[Frame]:
        while True:
            yield self._next()


def _stages(
    mesh: FrontEnd, analyzer: FaceAnalyzer | None, next_frame: Callable[[], Frame]
) -> dict[str, float]:
    """Measures the parts of a step, s."""
    totals = dict.fromkeys(("mesh", "crop", "network", "rest"), 0.0)
    for _ in range(_STAGE_FRAMES):
        frame = next_frame()
        times = [time.perf_counter()]
        faces = mesh.detect(frame.image, frame.timestamp_ms)
        times.append(time.perf_counter())
        if analyzer and faces:
            bundle = analyzer.model.bundle
            matrices = [bundle.aligner.matrix(face.mesh) for face in faces]
            crops = np.stack([crop_face(frame.image, m, bundle.crop_size) for m in matrices])
            meshes = np.stack([bundle.aligner.aligned_mesh(face.mesh[:468]) for face in faces])
            times.append(time.perf_counter())
            analyzer.model(crops, meshes)
            times.append(time.perf_counter())
            analyzer.read(frame.image, faces)
            times.append(time.perf_counter())
        parts = np.diff(times)
        totals["mesh"] += parts[0]
        if len(parts) == 4:
            totals["crop"] += parts[1]
            totals["network"] += parts[2]
            totals["rest"] += parts[3] - parts[1] - parts[2]
    return {name: total / _STAGE_FRAMES for name, total in totals.items()}


if __name__ == "__main__":
    serve(_make)
