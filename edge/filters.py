"""What is done to readings: calibration with a neutral face, then smoothing.

A pair network compares every frame with the features of the person at rest. Of the answers of any
other network, and wherever no face at rest is known, the neutral level is taken off afterwards.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edge.analyzer import with_levels
from tfau.core import AUReading, FaceFrame
from tfau.core.signals import FirstSeconds, OneEuro, RunningQuantile

_FORGET_MS = 5000.0


class _Signal(Protocol):
    def __call__(self, values: npt.ArrayLike, time_s: float) -> npt.NDArray[np.float64]: ...
    def state(self) -> Any: ...
    def restore(self, state: Any) -> None: ...


class ReadingFilter:
    """Calibrates and smooths the readings of each track; None of both leaves them as they are.

    Args:
        neutral: What calibrates before anything else: `"running"`, a low quantile of all
            intensities of a person so far; a number, the mean of a person's first seconds (their
            readings carry the reason `calibrating`); or a reading of the one person in front of
            the camera, at rest. A mean or a reading that has features goes into the network;
            anything else is taken off intensities, never below 0.
        smooth: Whether to smooth with a One-Euro filter.

    Raises:
        ValueError: If `neutral` is a word or a number that makes no sense.
    """

    def __init__(
        self, neutral: str | float | AUReading | None = None, *, smooth: bool = False
    ) -> None:
        self._make: Callable[[], FirstSeconds | RunningQuantile] | None = None
        self._fixed: npt.NDArray[np.float32] | None = None
        self._seconds = 0.0
        self._fixed_features: npt.NDArray[np.float32] | None = None
        if isinstance(neutral, AUReading):
            self._fixed = np.nan_to_num(neutral.points[:, 2])
            self._fixed_features = neutral.features
        elif neutral == "running":
            self._make = RunningQuantile
        elif isinstance(neutral, int | float) and 0 < neutral < np.inf:
            self._seconds = float(neutral)
            self._make = lambda: FirstSeconds(self._seconds)
        elif neutral is not None:
            raise ValueError(
                "`neutral` must be a number of seconds above 0 or `running`. "
                f"Received: neutral={neutral}"
            )
        self.smooth = smooth
        self._tracks: dict[int, dict[str, Any]] = {}

    def neutrals(self, faces: Sequence[FaceFrame]) -> list[npt.NDArray[np.float32] | None]:
        """Returns what is known of each face at rest, as a pair network takes it."""
        if self._fixed_features is not None:
            return [self._fixed_features] * len(faces)
        tracks = [self._tracks.get(face.track_id) for face in faces]
        return [track["features"] if track else None for track in tracks]

    def __call__(self, readings: Sequence[AUReading], timestamp_ms: float) -> list[AUReading]:
        """Filters the readings of the next frame.

        Args:
            readings: Readings whose faces have lasting numbers, see `edge.tracks`.
            timestamp_ms: Presentation time of the frame.
        """
        if self._make is None and self._fixed is None and not self.smooth:
            return list(readings)
        filtered = [self._filter(reading, timestamp_ms) for reading in readings]
        self._tracks = {
            number: track
            for number, track in self._tracks.items()
            if timestamp_ms - track["seen_ms"] <= _FORGET_MS
        }
        return filtered

    def _filter(self, reading: AUReading, timestamp_ms: float) -> AUReading:
        number = reading.face.track_id if reading.face else 0
        if number not in self._tracks:
            self._tracks[number] = self._new(timestamp_ms)
        track, time_s = self._tracks[number], timestamp_ms / 1000
        track["seen_ms"] = timestamp_ms
        levels: npt.NDArray[np.floating] = reading.points[:, 2].astype(np.float64)
        if self._fixed is not None and self._fixed_features is None:
            levels = np.maximum(levels - self._fixed, 0.0)
        if track["neutral"] is not None:
            if self._seconds and reading.features is not None:
                seen = np.asarray(track["neutral"](reading.features, time_s), np.float32)
                track["features"] = None if np.isnan(seen).any() else seen
            else:
                levels = np.maximum(levels - np.nan_to_num(track["neutral"](levels, time_s)), 0.0)
            if timestamp_ms - track["since_ms"] < self._seconds * 1000:
                reading = dataclasses.replace(
                    reading, reason=f"{reading.reason} calibrating".strip()
                )
        if track["smooth"] is not None:
            levels = track["smooth"](levels, time_s)
        return with_levels(reading, levels)

    def _new(self, since_ms: float) -> dict[str, Any]:
        return {
            "since_ms": since_ms,
            "seen_ms": since_ms,
            "neutral": self._make() if self._make else None,
            "smooth": OneEuro() if self.smooth else None,
            "features": None,
        }

    def describe(self) -> dict[str, Any]:
        """Returns the settings for a sidecar."""
        if self._fixed_features is not None:
            return {"neutral": "features of a photo", "smooth": self.smooth}
        if self._fixed is not None:
            return {"neutral": [round(float(x), 3) for x in self._fixed], "smooth": self.smooth}
        neutral = self._seconds or ("running" if self._make else None)
        return {"neutral": neutral, "smooth": self.smooth}

    def state(self) -> Any:
        """Returns what is carried from frame to frame, as JSON can hold it."""
        return [
            [
                number,
                track["since_ms"],
                track["seen_ms"],
                *(track[name] and track[name].state() for name in ("neutral", "smooth")),
                None if track["features"] is None else track["features"].tolist(),
            ]
            for number, track in self._tracks.items()
        ]

    def restore(self, state: Any) -> None:
        """Takes over what `state` returned."""
        self._tracks = {}
        for number, since_ms, seen_ms, *states, features in state:
            track = self._tracks[number] = self._new(since_ms)
            track["seen_ms"] = seen_ms
            track["features"] = None if features is None else np.array(features, np.float32)
            for name, saved in zip(("neutral", "smooth"), states, strict=True):
                if track[name] is not None:
                    track[name].restore(saved)
