"""Keeps the number of a face from frame to frame, by its motion alone: no face is recognised."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tfau.core import FaceFrame

Floats = npt.NDArray[np.float64]

_FAR = 1e6


@dataclass
class _Track:
    """Holds what is known of one face.

    Args:
        track_id: Its number.
        place: (3,) centre in px, and the logarithm of its size in px.
        speed: (3,) change of `place` per second.
        seen_ms: When it was last seen.
    """

    track_id: int
    place: Floats
    speed: Floats
    seen_ms: float

    def expected(self, timestamp_ms: float) -> Floats:
        """Returns the place where the face should be by now."""
        return self.place + self.speed * (timestamp_ms - self.seen_ms) / 1000


class Tracker:
    """Gives the same face the same `track_id` in every frame of a video.

    A face is expected where its motion leads it, and the faces found are assigned so that the sum
    of the distances to what was expected is least. Two faces that cross keep their numbers, also if
    one hides the other for a while, as long as both go on as they went. Limits: faces that meet
    and turn back while one is hidden may change numbers; who leaves for longer than `keep_s` and
    comes back gets a new one; a cut in the film is not noticed.

    Args:
        keep_s: For how long a face that is not seen is waited for.
        reach: How far from its expected place a face may be found, in face sizes; for a face that
            was lost this grows by as much again each second.

    Example:
        >>> tracker, mesh = Tracker(), np.random.default_rng(0).random((468, 3), np.float32)
        >>> [face.track_id for face in tracker.update([FaceFrame(mesh, (9, 9))], 0.0)]
        [0]
    """

    def __init__(self, keep_s: float = 1.0, reach: float = 0.75) -> None:
        self.keep_s, self.reach = keep_s, reach
        self._tracks: list[_Track] = []
        self._next = 0

    def update(self, faces: Sequence[FaceFrame], timestamp_ms: float) -> list[FaceFrame]:
        """Numbers the faces of the next frame.

        Args:
            faces: The faces found, in any order.
            timestamp_ms: Presentation time of the frame, not before that of the last.

        Returns:
            The same faces in the same order with their `track_id`.
        """
        keep_ms = self.keep_s * 1000
        tracks = [track for track in self._tracks if timestamp_ms - track.seen_ms <= keep_ms]
        places = [_place(face) for face in faces]
        cost = np.array(
            [[self._cost(track, place, timestamp_ms) for place in places] for track in tracks]
        ).reshape(len(tracks), len(places))
        match = {column: row for row, column in assign(cost) if cost[row, column] < _FAR}
        numbered = []
        for column, (face, place) in enumerate(zip(faces, places, strict=True)):
            if column in match:
                track = tracks[match[column]]
                seconds = (timestamp_ms - track.seen_ms) / 1000
                if seconds > 0:
                    track.speed = (track.speed + (place - track.place) / seconds) / 2
                track.place, track.seen_ms = place, timestamp_ms
            else:
                track = _Track(self._next, place, np.zeros(3), timestamp_ms)
                tracks.append(track)
                self._next += 1
            numbered.append(dataclasses.replace(face, track_id=track.track_id))
        self._tracks = tracks
        return numbered

    def _cost(self, track: _Track, place: Floats, timestamp_ms: float) -> float:
        """Returns the distance from what was expected, in face sizes, `_FAR` if out of reach."""
        gap = place - track.expected(timestamp_ms)
        distance = float(np.hypot(*gap[:2])) / math.exp(place[2]) + abs(float(gap[2]))
        # Who stood still may have started to move, so the last place counts as well.
        stayed = float(np.hypot(*(place - track.place)[:2])) / math.exp(place[2])
        lost_s = (timestamp_ms - track.seen_ms) / 1000
        if min(distance, stayed) > self.reach * (1 + lost_s):
            return _FAR
        return distance

    def state(self) -> Any:
        """Returns what is carried from frame to frame, as JSON can hold it."""
        return {
            "next": self._next,
            "tracks": [
                [track.track_id, track.place.tolist(), track.speed.tolist(), track.seen_ms]
                for track in self._tracks
            ],
        }

    def restore(self, state: Any) -> None:
        """Takes over what `state` returned."""
        self._next = state["next"]
        self._tracks = [
            _Track(number, np.array(place), np.array(speed), seen)
            for number, place, speed, seen in state["tracks"]
        ]


def _place(face: FaceFrame) -> Floats:
    points = face.mesh[:, :2].astype(np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    size = max(float(np.hypot(*(high - low))), 1e-6)
    return np.array([*((low + high) / 2), math.log(size)])


def assign(cost: Floats) -> list[tuple[int, int]]:
    """Pairs rows with columns so that the sum of their costs is least (Hungarian method).

    Args:
        cost: (N, M) finite.

    Returns:
        min(N, M) pairs of row and column, by row.

    References:
        Kuhn, "The Hungarian method for the assignment problem", 1955; with potentials, O(N^2 M).
    """
    rows, columns = cost.shape
    if rows > columns:
        return sorted((row, column) for column, row in assign(cost.T))
    row_price, column_price = np.zeros(rows + 1), np.zeros(columns + 1)
    owner = np.full(columns + 1, rows)  # row of each column; `rows` is none
    for row in range(rows):
        # The last column is where the search for this row starts.
        owner[columns], column = row, columns
        least, before = np.full(columns, np.inf), np.full(columns, columns)
        used = np.zeros(columns + 1, bool)
        while owner[column] != rows:
            used[column] = True
            current = owner[column]
            reduced = cost[current] - row_price[current] - column_price[:columns]
            better = ~used[:columns] & (reduced < least)
            least[better], before[better] = reduced[better], column
            free = np.where(used[:columns], np.inf, least)
            nearest = int(free.argmin())
            step = free[nearest]
            row_price[owner[used]] += step
            column_price[used] -= step
            least[~used[:columns]] -= step
            column = nearest
        while column != columns:
            owner[column], column = owner[before[column]], before[column]
    return sorted((int(owner[column]), column) for column in range(columns) if owner[column] < rows)
