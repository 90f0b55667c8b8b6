"""The road from a source to readings: decoding, mesh and action units side by side, in order."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from edge.analyzer import FaceAnalyzer
from edge.filters import ReadingFilter
from edge.pipeline import Ahead, cores
from edge.sources import Frame, ImageSource, LiveSource, Source
from edge.tracks import Tracker
from tfau.core import AUReading, FaceFrame


@dataclass(frozen=True, eq=False)
class Answer:
    """Holds what a frame was read as.

    Args:
        frame: The frame.
        readings: One for each face, numbered and filtered.
        dropped: How many frames of a live source were left out so far.
    """

    frame: Frame
    readings: list[AUReading]
    dropped: int


class ReadingStream:
    """Reads the frames of one source one after the other.

    Frames are decoded in one thread and their meshes fitted in another, while this one reads
    action units; the answers are the same as without threads. Of a live source only the newest
    frame waits: what comes faster than it can be read is dropped.

    Args:
        analyzer: Reads the faces. Its mesh should `follow` if the source is a video.
        filters: What is done to the readings.
        every: Of how many frames one is read.

    Raises:
        ValueError: If `every` is below 1.
    """

    def __init__(
        self, analyzer: FaceAnalyzer, filters: ReadingFilter | None = None, *, every: int = 1
    ) -> None:
        if every < 1:
            raise ValueError(f"`every` must be at least 1. Received: every={every}")
        self.analyzer, self.filters, self.every = analyzer, filters or ReadingFilter(), every
        self._tracker = Tracker()
        self._mesh_state: Any = None
        self._follows = False

    def read(self, source: Source) -> Iterator[Answer]:
        """Yields an answer for each frame."""
        photos, live = isinstance(source, ImageSource), isinstance(source, LiveSource)
        with contextlib.ExitStack() as threads:
            frames: Iterable[Frame] = source
            if live or cores() > 1:
                frames = threads.enter_context(Ahead(source, size=1 if live else 2, lossy=live))
            meshes: Iterable[tuple[Frame, list[FaceFrame], Any]]
            meshes = self._find(frames, photos=photos)
            if cores() > 1:  # on a single one, taking turns would only cost time
                meshes = threads.enter_context(Ahead(meshes, size=1))
            for frame, faces, mesh_state in meshes:
                if not photos:
                    faces = self._tracker.update(faces, frame.timestamp_ms)  # noqa: PLW2901
                readings = self.analyzer.read(frame.image, faces, self.filters.neutrals(faces))
                readings = self.filters(readings, frame.timestamp_ms)
                self._mesh_state, self._follows = mesh_state, not photos
                yield Answer(frame, readings, getattr(frames, "dropped", 0))

    def _find(
        self, frames: Iterable[Frame], *, photos: bool
    ) -> Iterator[tuple[Frame, list[FaceFrame], Any]]:
        mesh = self.analyzer.mesh
        for frame in frames:
            if frame.index % self.every == 0:
                faces = mesh.detect(frame.image, frame.timestamp_ms)
                yield frame, faces, None if photos else mesh.state()

    def state(self) -> Any:
        """Returns what is carried over from the last answer to the next: arrays, numbers, None.

        Raises:
            NotImplementedError: If the front end does not tell.
        """
        if self._mesh_state is None and self._follows:
            raise NotImplementedError("This front end does not tell what it carries over.")
        return [self._mesh_state, self._tracker.state(), self.filters.state()]

    def restore(self, state: Any) -> None:
        """Takes over what `state` returned."""
        self._mesh_state, tracks, filters = state
        if self._mesh_state is not None:
            self.analyzer.mesh.restore(self._mesh_state)
        self._tracker.restore(tracks)
        self.filters.restore(filters)
