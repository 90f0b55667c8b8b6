"""Signals over time, in seconds and never in frames: smoothing, and a person's neutral face."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class OneEuro:
    """Smooths a signal little while it moves fast and much while it rests.

    Values that are NaN pass through and leave the filter as it was.

    Args:
        min_cutoff_hz: Cut-off at rest. Lower is smoother, and slower.
        beta: How much the cut-off rises with speed, Hz per (unit / s).
        speed_cutoff_hz: Cut-off for the speed itself.

    Example:
        >>> smooth = OneEuro()
        >>> [round(float(smooth(np.array([x]), t)[0]), 2) for t, x in enumerate([0.0, 1.0])]
        [0.0, 0.92]

    References:
        Casiez, Roussel and Vogel, "1 Euro Filter", CHI 2012.
    """

    def __init__(
        self, min_cutoff_hz: float = 1.5, beta: float = 0.3, speed_cutoff_hz: float = 1.0
    ) -> None:
        self.min_cutoff_hz, self.beta = min_cutoff_hz, beta
        self.speed_cutoff_hz = speed_cutoff_hz
        self._values: Floats | None = None
        self._speeds = self._times = np.zeros(0)

    def __call__(self, values: npt.ArrayLike, time_s: float) -> Floats:
        """Smooths the next values.

        Args:
            values: (N,) of the same N each time.
            time_s: Their time, which must not fall.

        Returns:
            (N,) float64.
        """
        values = np.asarray(values, np.float64)
        if self._values is None:
            self._values = np.full(len(values), np.nan)
            self._speeds, self._times = np.zeros(len(values)), np.full(len(values), time_s)
        known, first = ~np.isnan(values), np.isnan(self._values)
        start, go = known & first, known & ~first & (time_s > self._times)
        self._values[start], self._times[start] = values[start], time_s
        seconds = time_s - self._times[go]
        speeds = (values[go] - self._values[go]) / seconds
        self._speeds[go] += _share(self.speed_cutoff_hz, seconds) * (speeds - self._speeds[go])
        share = _share(self.min_cutoff_hz + self.beta * np.abs(self._speeds[go]), seconds)
        self._values[go] += share * (values[go] - self._values[go])
        self._times[go] = time_s
        return np.where(known, self._values, np.nan)

    def state(self) -> Any:
        """Returns what is carried from frame to frame, as JSON can hold it."""
        if self._values is None:
            return None
        values = [None if math.isnan(value) else value for value in self._values.tolist()]
        return [values, self._speeds.tolist(), self._times.tolist()]

    def restore(self, state: Any) -> None:
        """Takes over what `state` returned."""
        if state is not None:
            values, speeds, times = state
            self._values = np.array(values, np.float64)
            self._speeds, self._times = np.array(speeds), np.array(times)


def _share(cutoff_hz: npt.ArrayLike, seconds: Floats) -> Floats:
    """Returns the weight of a new value in a low-pass filter."""
    return np.asarray(1 / (1 + 1 / (2 * math.pi * np.asarray(cutoff_hz) * seconds)))


class RunningQuantile:
    """Follows a low quantile of a signal without looking ahead and in constant memory.

    It climbs slowly and falls fast, so that it ends where a signal is `quantile` of the time
    below it: on somebody's neutral face, if that is what they show most often.

    Args:
        quantile: 0 to 1.
        pace: How fast it moves, intensity steps per second.
    """

    def __init__(self, quantile: float = 0.2, pace: float = 0.25) -> None:
        self.quantile, self.pace = quantile, pace
        self._level: Any = None
        self._time_s = 0.0

    def __call__(self, values: npt.ArrayLike, time_s: float) -> Floats:
        """Takes the next (N,) values in and returns the (N,) quantile so far."""
        values = np.asarray(values, np.float64)
        if self._level is None:
            self._level = values.copy()
        else:
            first = np.isnan(self._level)
            self._level[first] = values[first]
            step = self.pace * max(time_s - self._time_s, 0.0)
            above = np.where(values > self._level, self.quantile, self.quantile - 1) * step
            # Never beyond the value itself: after a long gap a step may be large.
            move = np.clip(above, -np.abs(values - self._level), np.abs(values - self._level))
            self._level += np.nan_to_num(move)
        self._time_s = time_s
        return np.array(self._level, np.float64)

    def state(self) -> Any:
        """Returns what is carried from frame to frame, as JSON can hold it."""
        if self._level is None:
            return None
        level = [None if math.isnan(value) else value for value in self._level.tolist()]
        return [level, self._time_s]

    def restore(self, state: Any) -> None:
        """Takes over what `state` returned."""
        if state is not None:
            self._level, self._time_s = np.array(state[0], np.float64), state[1]


class FirstSeconds:
    """Averages a signal over its first seconds and holds that value from then on.

    Args:
        seconds: For how long to average.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._start_s: float | None = None
        self._sum = self._count = np.zeros(0)

    def __call__(self, values: npt.ArrayLike, time_s: float) -> Floats:
        """Takes the next (N,) values in and returns the (N,) mean so far, NaN where unknown."""
        values = np.asarray(values, np.float64)
        if self._start_s is None:
            self._start_s = time_s
            self._sum, self._count = np.zeros(len(values)), np.zeros(len(values))
        if time_s - self._start_s <= self.seconds:
            self._sum += np.nan_to_num(values)
            self._count += ~np.isnan(values)
        mean: Floats = np.full(len(self._sum), np.nan)
        np.divide(self._sum, self._count, out=mean, where=self._count > 0)
        return mean

    def state(self) -> Any:
        """Returns what is carried from frame to frame, as JSON can hold it."""
        if self._start_s is None:
            return None
        return [self._start_s, self._sum.tolist(), self._count.tolist()]

    def restore(self, state: Any) -> None:
        """Takes over what `state` returned."""
        if state is not None:
            self._start_s = state[0]
            self._sum, self._count = np.array(state[1]), np.array(state[2])


# fmt: off
EYES = {  # outer corner, inner corner, then upper and lower lid in pairs
    "left": (263, 362, (387, 373), (386, 374), (385, 380)),
    "right": (33, 133, (160, 144), (159, 145), (158, 153)),
}
# fmt: on


def eye_aspect_ratio(mesh: npt.NDArray[Any]) -> Floats:
    """Measures how far the eyes are open.

    Args:
        mesh: (468 or 478, 2 or 3) mesh vertices.

    Returns:
        (2,) of the left and the right eye: mean gap between the lids over the width of the eye;
        about .3 open and below .1 closed. In depth as well as in the picture, if the mesh has it,
        so that a turned head changes it little.

    References:
        Soukupova and Cech, "Real-Time Eye Blink Detection using Facial Landmarks", 2016; theirs
        takes two pairs of lid points where we take three.
    """
    ratios = []
    for outer, inner, *lids in EYES.values():
        width = float(np.linalg.norm(mesh[outer] - mesh[inner]))
        gaps = [float(np.linalg.norm(mesh[upper] - mesh[lower])) for upper, lower in lids]
        ratios.append(sum(gaps) / len(gaps) / max(width, 1e-9))
    return np.array(ratios)


def longest_gap(times_s: npt.NDArray[Any]) -> float:
    """Returns how far apart two samples may be that are one after the other, seconds.

    .5, or three times the usual step where samples are rare.

    Args:
        times_s: (T,) rising times.
    """
    steps = np.diff(np.asarray(times_s, np.float64))
    return max(0.5, 3 * float(np.median(steps))) if len(steps) else 0.5


def sample_spans(times_s: npt.NDArray[Any]) -> Floats:
    """Says for how long each sample stands: half way to its neighbours.

    Args:
        times_s: (T,) rising times. Samples further apart than `longest_gap` do not stand for what
            lies between; beside such gaps, before the first and after the last sample, half of the
            usual step counts.

    Returns:
        (T,) seconds.

    Example:
        >>> sample_spans(np.array([0.0, 0.1, 0.2, 5.0])).round(3)
        array([0.1, 0.1, 0.1, 0.1])
    """
    before, after = sample_edges(times_s)
    return after - before


def sample_edges(times_s: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """Returns when each sample begins and ends to stand for its time, (T,) each, seconds."""
    times_s = np.asarray(times_s, np.float64)
    steps, gap_s = np.diff(times_s), longest_gap(times_s)
    usual = float(np.median(steps[steps <= gap_s])) if (steps <= gap_s).any() else 0.0
    half = np.where(steps <= gap_s, steps, usual) / 2
    before = times_s - np.append(usual / 2, half)[: len(times_s)]
    after = times_s + np.append(half, usual / 2)[-len(times_s) :]
    return before, after
