"""What happened and when: events of units, blinks, stretches of expressions, sides, togetherness.

Times are seconds. All of it takes time in proportion to the number of samples, and gives the same
answer whatever the frame rate is, as far as the samples show it. Where nothing is known for longer
than `signals.longest_gap`, nothing goes on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tfau.core.signals import longest_gap, sample_edges, sample_spans

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Event:
    """Describes a stretch of time in which something happened.

    Args:
        kind: What: a unit, `blink`, `dominant`, `two-fold`, `volatile`.
        onset_s: When it began: of a unit, when it left the level of rest.
        apex_s: When it was strongest.
        offset_s: When it was over.
        amplitude: How strong it was at most: intensity, or score.
        names: The expressions it is about.
    """

    kind: str
    onset_s: float
    apex_s: float
    offset_s: float
    amplitude: float
    names: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """How long it took."""
        return self.offset_s - self.onset_s


def unit_events(
    kind: str,
    times_s: npt.NDArray[Any],
    levels: npt.NDArray[Any],
    *,
    on: float = 1.0,
    off: float = 0.5,
    least_s: float = 0.2,
    smooth_s: float = 0.1,
) -> list[Event]:
    """Finds the events of a unit: from leaving `off` until it is back there, if it reached `on`.

    Args:
        kind: What to call them.
        times_s: (T,) rising times.
        levels: (T,) intensities; NaN where not known.
        on: Intensity that it must reach.
        off: Intensity of rest.
        least_s: Shortest event.
        smooth_s: Levels are averaged over so much before and behind.

    Returns:
        The events in order. Between samples levels change in straight lines.
    """
    level = centred_mean(times_s, levels, smooth_s) if smooth_s else np.asarray(levels, np.float64)
    known = ~np.isnan(level)
    times, level = np.asarray(times_s, np.float64)[known], level[known]
    active = level >= off
    if not active.any():
        return []
    broken = np.diff(times, prepend=times[:1]) > longest_gap(times_s)
    starts = np.flatnonzero(active & (~np.append(False, active[:-1]) | broken))
    ends = np.flatnonzero(active & (~np.append(active[1:], False) | np.append(broken[1:], True)))
    begin, finish = sample_edges(times)
    events = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        apex = start + int(level[start : end + 1].argmax())
        if level[apex] < on:
            continue
        onset, offset = begin[start], finish[end]
        if start and not broken[start]:
            onset = _crossing(times, level, start - 1, off)
        if end + 1 < len(times) and not broken[end + 1]:
            offset = _crossing(times, level, end, off)
        if offset - onset >= least_s:
            events.append(
                Event(kind, float(onset), float(times[apex]), float(offset), float(level[apex]))
            )
    return events


def _crossing(times: Floats, level: Floats, before: int, at: float) -> float:
    (t0, t1), (y0, y1) = times[before : before + 2], level[before : before + 2]
    return float(t0 + (t1 - t0) * (at - y0) / (y1 - y0))


def centred_mean(times_s: npt.NDArray[Any], values: npt.NDArray[Any], reach_s: float) -> Floats:
    """Averages what is known within `reach_s` before and behind; NaN stays NaN.

    Args:
        times_s: (T,) rising times.
        values: (T,) or (T, N).
        reach_s: To either side.
    """
    values = np.asarray(values, np.float64)
    first = np.searchsorted(times_s, times_s - reach_s - 1e-9)
    last = np.searchsorted(times_s, times_s + reach_s + 1e-9, side="right")
    known = ~np.isnan(values)
    zero = np.zeros((1, *values.shape[1:]))
    sums = np.concatenate([zero, np.cumsum(np.where(known, values, 0), axis=0)])
    counts = np.concatenate([zero, np.cumsum(known, axis=0)])
    count = counts[last] - counts[first]
    mean = np.divide(
        sums[last] - sums[first], count, out=np.full_like(sums[1:], np.nan), where=known
    )
    return np.asarray(mean)


def blinks(times_s: npt.NDArray[Any], closure: npt.NDArray[Any]) -> list[Event]:
    """Finds blinks: lids that close beyond the middle and are open again within .5 s.

    Args:
        times_s: (T,) rising times.
        closure: (T,) intensity of AU45 or 43.
    """
    closed = unit_events("blink", times_s, closure, on=2.5, off=1.5, least_s=0.0, smooth_s=0.0)
    return [event for event in closed if event.duration_s <= 0.5]


def observed_s(times_s: npt.NDArray[Any], known: npt.NDArray[np.bool_]) -> float:
    """Returns for how long something is known, seconds."""
    return float(sample_spans(times_s)[known].sum()) if len(times_s) else 0.0


def tracks(
    times_s: npt.NDArray[Any], scores: npt.NDArray[Any], names: tuple[str, ...]
) -> list[Event]:
    """Finds the stretches that stand out, by the three best expressions of each moment.

    - `dominant`: one expression is first for .5 s, at .3 or more, .14 before the next.
    - `two-fold`: the same two are first and second for .5 s, the second at .3 or more.
    - `volatile`: within 2 to 10 s, five or more expressions are first, all at nearly the same score
      (a range of .2), above .25 on average. Of all windows that end at a moment the longest one
      whose range is small enough counts.

    Args:
        times_s: (T,) rising times.
        scores: (T, E) scores without the neutral one; NaN where not known.
        names: Their names.

    Returns:
        The stretches, in order of kind and time.
    """
    if not len(scores) or not scores.shape[1]:
        return []
    filled = np.where(np.isnan(scores), -1.0, scores)
    order = np.argsort(-filled, axis=1, kind="stable")[:, :2]
    if order.shape[1] < 2:
        order = np.column_stack([order, order])
    first, second = (filled[np.arange(len(filled)), order[:, i]] for i in (0, 1))
    if scores.shape[1] == 1:
        second = np.zeros(len(filled))
    clear = (first >= 0.3) & (first - second >= 0.14)
    pair = np.sort(order, axis=1) @ np.array([scores.shape[1], 1])
    found = _stretches("dominant", times_s, np.where(clear, order[:, 0], -1), first)
    twice = np.where(second >= 0.3, pair, -1)
    if scores.shape[1] > 1:
        found += _stretches("two-fold", times_s, twice, second)
    found += _stretches(
        "volatile", times_s, np.where(_volatile(times_s, order[:, 0], first), 0, -1), first, 0.0
    )
    named = []
    for event, label in found:
        who: tuple[str, ...] = ()
        if event.kind == "dominant":
            who = (names[label],)
        elif event.kind == "two-fold":
            who = (names[label // scores.shape[1]], names[label % scores.shape[1]])
        named.append(
            Event(event.kind, event.onset_s, event.apex_s, event.offset_s, event.amplitude, who)
        )
    return named


def _stretches(
    kind: str,
    times_s: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    values: npt.NDArray[Any],
    least_s: float = 0.5,
) -> list[tuple[Event, int]]:
    """Finds where a label stays the same; -1 is none."""
    begin, end = sample_edges(times_s)
    new = np.diff(labels, prepend=labels[:1] - 1) != 0
    new |= np.diff(times_s, prepend=times_s[:1]) > longest_gap(times_s)
    starts = np.flatnonzero(new)
    found = []
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(labels)], strict=True):
        onset, offset = float(begin[start]), float(end[stop - 1])
        if labels[start] < 0 or offset - onset < least_s - 1e-9:
            continue
        apex = start + int(values[start:stop].argmax())
        found.append(
            (
                Event(kind, onset, float(times_s[apex]), offset, float(values[apex])),
                int(labels[start]),
            )
        )
    return found


def _volatile(
    times_s: npt.NDArray[Any],
    best: npt.NDArray[np.intp],
    values: npt.NDArray[Any],
    shortest_s: float = 2.0,
    longest_s: float = 10.0,
) -> npt.NDArray[np.bool_]:
    """Marks the moments that lie in a volatile window, two ends moving forwards only."""
    spans = sample_spans(times_s)
    weighted = np.append(0.0, np.cumsum(spans * values))
    lasting = np.append(0.0, np.cumsum(spans))
    begin, end = sample_edges(times_s)
    high: deque[int] = deque()
    low: deque[int] = deque()
    counts: dict[int, int] = {}
    marks = np.zeros(len(values) + 1, int)
    left, longest = 0, longest_gap(times_s)
    for right, value in enumerate(values.tolist()):
        gap = right and times_s[right] - times_s[right - 1] > longest
        if gap or value < 0:
            high.clear()
            low.clear()
            counts.clear()
            left = right if value >= 0 else right + 1
            if value < 0:
                continue
        while high and values[high[-1]] <= value:
            high.pop()
        while low and values[low[-1]] >= value:
            low.pop()
        high.append(right)
        low.append(right)
        counts[int(best[right])] = counts.get(int(best[right]), 0) + 1
        while values[high[0]] - values[low[0]] > 0.2 or end[right] - begin[left] > longest_s:
            name = int(best[left])
            counts[name] -= 1
            if not counts[name]:
                del counts[name]
            for ends in (high, low):
                if ends[0] == left:
                    ends.popleft()
            left += 1
        long = end[right] - begin[left] >= shortest_s
        mean = (weighted[right + 1] - weighted[left]) / max(
            lasting[right + 1] - lasting[left], 1e-9
        )
        if long and len(counts) >= 5 and mean > 0.25:
            marks[left] += 1
            marks[right + 1] -= 1
    return np.cumsum(marks[:-1]) > 0


def co_occurrence(times_s: npt.NDArray[Any], active: npt.NDArray[np.bool_]) -> Floats:
    """Says how much of the time of two units they share.

    Args:
        times_s: (T,) rising times.
        active: (T, A) whether a unit is there.

    Returns:
        (A, A): time in which both are there over time in which one of them is; NaN if neither ever
        is. The diagonal is 1.
    """
    spans = sample_spans(times_s) if len(times_s) else np.zeros(0)
    on = active.astype(np.float64)
    both = on.T @ (on * spans[:, None])
    each = np.diag(both)
    either = each[:, None] + each[None] - both
    shared: Floats = np.full_like(both, np.nan)
    np.divide(both, either, out=shared, where=either > 0)
    return shared


def asymmetry(left: npt.NDArray[Any], right: npt.NDArray[Any], *, threshold: float = 1.0) -> Floats:
    """Says on which side units are stronger.

    Args:
        left: (T, A) intensity on the subject's left.
        right: (T, A) on the right.
        threshold: Moments in which the mean of both is lower do not count.

    Returns:
        (A,): mean of (left - right) / (left + right) while the unit is there, -1 to 1; NaN if it
        never is.
    """
    total = left + right
    counts = total >= 2 * threshold
    share = np.divide(left - right, total, out=np.zeros_like(total), where=counts)
    number = counts.sum(axis=0)
    mean: Floats = np.full(number.shape, np.nan)
    np.divide(share.sum(axis=0), number, out=mean, where=number > 0)
    return mean


def synchrony(
    times_s: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    levels: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    *,
    longest_s: float = 2.0,
    step_s: float = 0.1,
) -> tuple[Floats, Floats]:
    """Correlates two faces at several lags.

    Args:
        times_s: (T,) and (U,) rising times of each.
        levels: (T, A) and (U, A) intensities of each.
        longest_s: Longest lag.
        step_s: Between two lags, and between the samples that are compared.

    Returns:
        The correlation that is highest in size, (A,), and its lag, seconds: positive where the
        second face follows. NaN where fewer than 2 s are known of both, or one does not move.
    """
    width = levels[0].shape[1]
    start = max(times_s[0][0], times_s[1][0]) if all(len(t) for t in times_s) else 0.0
    stop = min(times_s[0][-1], times_s[1][-1]) if all(len(t) for t in times_s) else 0.0
    grid = np.arange(start, stop + 1e-9, step_s)
    one, other = (_sampled(grid, t, v) for t, v in zip(times_s, levels, strict=True))
    best, lag_s = np.full(width, np.nan), np.full(width, np.nan)
    reach = min(round(longest_s / step_s), max(len(grid) - 1, 0))
    for lag in sorted(range(-reach, reach + 1), key=abs):
        first = one[max(0, -lag) : len(grid) - max(0, lag)]
        second = other[max(0, lag) : len(grid) + min(0, lag)]
        r = _correlation(first, second, least=round(2 / step_s))
        better = ~np.isnan(r) & (np.isnan(best) | (np.abs(r) > np.abs(best) + 1e-9))
        best[better], lag_s[better] = r[better], lag * step_s
    return best, lag_s


def _sampled(grid: Floats, times_s: npt.NDArray[Any], values: npt.NDArray[Any]) -> Floats:
    """Takes the nearest sample; NaN where there is none within half a gap."""
    if not len(times_s) or not len(grid):
        return np.full((len(grid), values.shape[1]), np.nan)
    after = np.searchsorted(times_s, grid).clip(1, max(len(times_s) - 1, 1))
    after = np.minimum(after, len(times_s) - 1)
    before = np.maximum(after - 1, 0)
    near = np.where(np.abs(times_s[before] - grid) <= np.abs(times_s[after] - grid), before, after)
    sampled = np.array(values[near], np.float64)
    sampled[np.abs(times_s[near] - grid) > longest_gap(times_s) / 2] = np.nan
    return sampled


def _correlation(one: Floats, other: Floats, *, least: int) -> Floats:
    known = ~(np.isnan(one) | np.isnan(other))
    count = known.sum(axis=0)
    a, b = (np.where(known, values, 0) for values in (one, other))
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b = (np.where(known, v - v.sum(axis=0) / count, 0) for v in (a, b))
        r = (a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    flat = ((a**2).sum(axis=0) < 1e-9) | ((b**2).sum(axis=0) < 1e-9)
    return np.asarray(np.where((count < least) | flat, np.nan, r))
