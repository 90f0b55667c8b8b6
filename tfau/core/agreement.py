"""How well estimates agree with codes: over a whole data set, NaN where a unit is not coded.

Every function takes truth and estimate as (N,) or (N, ...) and reduces the first axis over the rows
in which the truth is coded. A row whose truth is coded and whose estimate is NaN counts as an
estimate of 0: a face that was not found must not improve a score.

ICC, PCC, MAE and MSE follow from sums over rows (`moments`), F1 and accuracy from counts
(`counts`). Both add up: over batches, over folds, and over the people that a bootstrap draws. AUC
and average precision need the order of the rows and are computed anew for each draw.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tfau.core.action_units import INTENSITY_MAX, AUSet

Floats = npt.NDArray[np.float64]

_ROUNDING = 1e-12  # a spread below this share of its raw sum of squares is rounding, not spread
_CELLS = 2**21  # numbers that resampling holds at a time: 16 MiB


def moments(
    truth: npt.ArrayLike, estimate: npt.ArrayLike, centre: tuple[Any, Any] = (0.0, 0.0)
) -> Floats:
    """Sums what the intensity metrics need.

    Args:
        truth: (N, ...) codes, NaN where not coded.
        estimate: (N, ...) estimates.
        centre: What to subtract from truth and from estimate before they are squared. No metric
            depends on it, but the nearer it is to the mean, the less is lost to rounding. Only
            moments about the same centre add up.

    Returns:
        (..., 8) sums over the coded rows of 1, truth, estimate, truth^2, estimate^2, truth times
        estimate, |truth - estimate| and (truth - estimate)^2.
    """
    a, b, coded = _coded(truth, estimate)
    gap = a - b
    a, b = a - centre[0], b - centre[1]
    terms = (np.ones_like(a), a, b, a * a, b * b, a * b, np.abs(gap), gap * gap)
    return np.stack([np.where(coded, term, 0.0).sum(axis=0) for term in terms], axis=-1)


def counts(truth: npt.ArrayLike, estimate: npt.ArrayLike, threshold: npt.ArrayLike = 0.5) -> Floats:
    """Counts hits and errors of a decision.

    Args:
        truth: (N, ...) presence: 1 seen, 0 not seen, NaN not coded.
        estimate: (N, ...) scores; a unit counts as seen from the threshold on.
        threshold: One for all, or (...) one for each unit.

    Returns:
        (..., 4) numbers of true positives, false positives, false negatives, true negatives.
    """
    a, b, coded = _coded(truth, estimate)
    real, said = a >= 0.5, b >= np.asarray(threshold)
    terms = (real & said, ~real & said, real & ~said, ~real & ~said)
    return np.stack([(coded & term).sum(axis=0) for term in terms], axis=-1).astype(np.float64)


def icc(truth: npt.ArrayLike, estimate: npt.ArrayLike) -> Floats:
    """Computes ICC(3,1), consistency of two fixed raters on single scores.

    Returns:
        (MSR - MSE) / (MSR + MSE), from -1 to 1; 0 for a constant estimate; NaN where the truth
        has fewer than two coded rows or both raters are constant.

    References:
        Shrout and Fleiss, "Intraclass correlations", Psychological Bulletin 86(2), 1979. The
        same as row 3 of `psych::ICC` in R and as ICC(C,1) of McGraw and Wong, 1996.
    """
    return _icc(_own_moments(truth, estimate))


def pcc(truth: npt.ArrayLike, estimate: npt.ArrayLike) -> Floats:
    """Computes Pearson's correlation; 0 where only the estimate is constant."""
    return _pcc(_own_moments(truth, estimate))


def mae(truth: npt.ArrayLike, estimate: npt.ArrayLike) -> Floats:
    """Computes the mean absolute error, in intensity units."""
    return _mae(moments(truth, estimate))


def mse(truth: npt.ArrayLike, estimate: npt.ArrayLike) -> Floats:
    """Computes the mean squared error, in squared intensity units."""
    return _mse(moments(truth, estimate))


def f1(truth: npt.ArrayLike, estimate: npt.ArrayLike, threshold: npt.ArrayLike = 0.5) -> Floats:
    """Computes F1, the harmonic mean of precision and recall; NaN where no row is positive."""
    return _f1(counts(truth, estimate, threshold))


def accuracy(
    truth: npt.ArrayLike, estimate: npt.ArrayLike, threshold: npt.ArrayLike = 0.5
) -> Floats:
    """Computes the share of decisions that are right."""
    return _accuracy(counts(truth, estimate, threshold))


def auc(truth: npt.ArrayLike, estimate: npt.ArrayLike) -> Floats:
    """Computes the area under the ROC curve: how often a positive row scores above a negative.

    Returns:
        (...) from 0 to 1; a tie counts half; NaN where one of the two kinds of rows is missing.
    """
    areas, _ = _ranked(truth, estimate)
    return areas.reshape(areas.shape[1:])


def average_precision(truth: npt.ArrayLike, estimate: npt.ArrayLike) -> Floats:
    """Computes the precision at each threshold, weighted by the recall that it adds.

    Returns:
        (...) from 0 to 1; what chance reaches is the share of positives; NaN where there is none.
    """
    _, areas = _ranked(truth, estimate)
    return areas.reshape(areas.shape[1:])


METRICS = {"ICC": icc, "MAE": mae, "MSE": mse, "PCC": pcc}
"""Metrics of intensity."""

PRESENCE_METRICS = {"F1": f1, "accuracy": accuracy, "AUC": auc, "AP": average_precision}
"""Metrics of presence."""


def score(aus: AUSet, truth: npt.ArrayLike, estimate: npt.ArrayLike) -> dict[str, dict[str, float]]:
    """Scores the intensity of every unit of a set, and their mean.

    Args:
        aus: The A units, in column order.
        truth: (N, A) coded intensities, NaN where not coded.
        estimate: (N, A) estimates; clipped to 0-5 first, as the field does.

    Returns:
        `{"AU01": {"ICC": ..., "MAE": ..., "MSE": ..., "PCC": ...}, ..., "mean": {...}}`. The mean
        leaves out units whose score is NaN.
    """
    estimate = np.clip(np.asarray(estimate, np.float64), 0.0, INTENSITY_MAX)
    sums = _own_moments(truth, estimate)
    columns = {name: _with_mean(_OF_MOMENTS[name](sums)) for name in METRICS}
    return {
        unit: {name: float(column[row]) for name, column in columns.items()}
        for row, unit in enumerate((*aus.names, "mean"))
    }


@dataclass(frozen=True, eq=False)
class Interval:
    """Holds a metric of A units and, last, its mean over them, with 95 % intervals.

    Args:
        value: (A + 1,) on the data as they are. The mean leaves out units that are NaN.
        low: (A + 1,) 2.5th percentile over the resamples; NaN with fewer than two people.
        high: (A + 1,) 97.5th percentile.
    """

    value: Floats
    low: Floats
    high: Floats


def bootstrap(
    truth: npt.ArrayLike,
    estimate: npt.ArrayLike,
    subject: npt.ArrayLike,
    metrics: Iterable[str] = ("ICC", "PCC", "MAE", "MSE"),
    *,
    threshold: npt.ArrayLike = 0.5,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Computes metrics with their 95 % percentile intervals.

    People are drawn with replacement, as many as there are, each with all of their rows: frames
    of one person are no independent witnesses. A draw in which a metric of a unit is not defined
    (nobody in it shows the unit) is left out for that unit.

    Args:
        truth: (N, A) intensities or presence, NaN where not coded.
        estimate: (N, A) estimates.
        subject: (N,) who is seen; the same word means the same person.
        metrics: Names out of `METRICS` and `PRESENCE_METRICS`.
        threshold: As in `counts`.
        resamples: Number of draws.
        seed: Decides the draws.

    Returns:
        The interval of each metric.

    Raises:
        ValueError: If a metric is unknown, shapes differ, or there is no draw.
    """
    drawn = _drawn(truth, estimate, subject, metrics, threshold, resamples, seed)
    return {name: _interval(*draws) for name, draws in drawn.items()}


def bootstrap_difference(
    truth: npt.ArrayLike,
    before: npt.ArrayLike,
    after: npt.ArrayLike,
    subject: npt.ArrayLike,
    metrics: Iterable[str] = ("ICC", "PCC", "MAE", "MSE"),
    *,
    threshold: npt.ArrayLike = 0.5,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Computes by how much a metric differs between two estimates of the same rows.

    Both are scored on the same draws of people, so what makes one draw easier than another does not
    blur the difference.

    Args:
        truth: As in `bootstrap`, and so are `subject` and all that follows.
        before: (N, A) estimates.
        after: (N, A) other estimates.
        subject: As in `bootstrap`.
        metrics: As in `bootstrap`.
        threshold: As in `bootstrap`.
        resamples: As in `bootstrap`.
        seed: As in `bootstrap`.

    Returns:
        The interval of the metric after minus before.

    Raises:
        ValueError: As `bootstrap`.
    """
    names = tuple(metrics)
    first, second = (
        _drawn(truth, estimate, subject, names, threshold, resamples, seed)
        for estimate in (before, after)
    )
    return {
        name: _interval(
            second[name][0] - first[name][0], second[name][1] - first[name][1], first[name][2]
        )
        for name in names
    }


_Draws = tuple[Floats, Floats, npt.NDArray[np.int64]]
"""(A + 1,) a metric of everybody, (R, A + 1) of each draw, and (A + 1,) of how many people."""


def _interval(everybody: Floats, drawn: Floats, witnesses: npt.NDArray[np.int64]) -> Interval:
    if not len(drawn):
        return Interval(everybody, everybody, everybody)
    ends = _quietly(np.nanpercentile, drawn, (2.5, 97.5), axis=0)
    low, high = np.where(witnesses >= 2, ends, np.nan)
    return Interval(everybody, low, high)


def _drawn(
    truth: npt.ArrayLike,
    estimate: npt.ArrayLike,
    subject: npt.ArrayLike,
    metrics: Iterable[str],
    threshold: npt.ArrayLike,
    resamples: int,
    seed: int,
) -> dict[str, _Draws]:
    """Computes metrics of everybody, and of people drawn again and again."""
    a, b = np.asarray(truth, np.float64), np.asarray(estimate, np.float64)
    names, metrics = np.asarray(subject), tuple(metrics)
    unknown = [name for name in metrics if name not in {**METRICS, **PRESENCE_METRICS}]
    if unknown:
        known = ", ".join((*METRICS, *PRESENCE_METRICS))
        raise ValueError(f"`metrics` must be out of {known}. Received: {', '.join(unknown)}.")
    if a.ndim != 2 or a.shape != b.shape or names.shape != a.shape[:1]:
        shapes = f"{a.shape}, {b.shape} and {names.shape}"
        raise ValueError(f"Shapes must be (N, A), (N, A) and (N,). Received: {shapes}.")
    if resamples < 1:
        raise ValueError(f"`resamples` must be at least 1. Received: {resamples}.")

    used = ~np.isnan(a).all(axis=1)  # who is coded nowhere is not among those who are drawn
    a, b = a[used], b[used]
    people, person = np.unique(names[used], return_inverse=True)
    if not len(people):
        nothing = np.full(a.shape[1] + 1, np.nan)
        nobody = np.zeros(len(nothing), np.int64)
        return dict.fromkeys(metrics, (nothing, nothing[None][:0], nobody))
    rows_of = np.split(np.argsort(person, kind="stable"), np.cumsum(np.bincount(person))[:-1])
    centre = _centre(a, b)
    moments_of = np.stack([moments(a[rows], b[rows], centre) for rows in rows_of])  # (S, A, 8)
    counts_of = np.stack([counts(a[rows], b[rows], threshold) for rows in rows_of])  # (S, A, 4)

    def scores(draws: npt.NDArray[np.int64]) -> dict[str, Floats]:
        """Scores people drawn so often, (R, S): (R, A + 1) for each metric."""
        by_moments = np.tensordot(draws, moments_of, axes=1)
        by_counts = np.tensordot(draws, counts_of, axes=1)
        found = {name: metric(by_moments) for name, metric in _OF_MOMENTS.items()}
        found |= {name: metric(by_counts) for name, metric in _OF_COUNTS.items()}
        if not {"AUC", "AP"}.isdisjoint(metrics):
            found["AUC"], found["AP"] = _ranked(a, b, person, draws)
        return {name: _with_mean(found[name]) for name in metrics}

    everybody = scores(np.ones((1, len(people)), np.int64))
    rng, share = np.random.default_rng(seed), np.full(len(people), 1 / len(people))
    step = max(1, _CELLS // len(people))
    batches = [
        scores(rng.multinomial(len(people), share, size=min(step, resamples - start)))
        for start in range(0, resamples, step)
    ]
    witnesses = np.append((moments_of[..., 0] > 0).sum(axis=0), len(people))
    return {
        name: (everybody[name][0], np.concatenate([batch[name] for batch in batches]), witnesses)
        for name in metrics
    }


def _coded(
    truth: npt.ArrayLike, estimate: npt.ArrayLike
) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Checks shapes and puts numbers where there are none."""
    truth, estimate = np.asarray(truth, np.float64), np.asarray(estimate, np.float64)
    if truth.shape != estimate.shape:
        raise ValueError(f"Shapes must be equal. Received: {truth.shape} and {estimate.shape}.")
    coded = ~np.isnan(truth)
    return np.where(coded, truth, 0.0), np.nan_to_num(estimate), coded


def _centre(truth: npt.ArrayLike, estimate: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Finds whole numbers near the means: whole codes stay whole, and their sums exact."""
    a, b, coded = _coded(truth, estimate)
    count = np.maximum(coded.sum(axis=0), 1)
    return np.rint(a.sum(axis=0) / count), np.rint(np.where(coded, b, 0.0).sum(axis=0) / count)


def _own_moments(truth: npt.ArrayLike, estimate: npt.ArrayLike) -> Floats:
    return moments(truth, estimate, _centre(truth, estimate))


def _ratio(above: Floats, below: Floats) -> Floats:
    """Divides; NaN where there is nothing to divide by."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(below > 0, above / below, np.nan)


def _spreads(sums: Floats) -> tuple[Floats, Floats, Floats]:
    """Returns the spread of the truth, of the estimate, and their common spread, times N."""
    n, a, b, aa, bb, ab = np.moveaxis(sums, -1, 0)[:6]
    n = np.maximum(n, 1)
    spread_a, spread_b = aa - a * a / n, bb - b * b / n
    spread_a = np.where(spread_a > _ROUNDING * aa, spread_a, 0.0)
    spread_b = np.where(spread_b > _ROUNDING * bb, spread_b, 0.0)
    return spread_a, spread_b, ab - a * b / n


def _icc(sums: Floats) -> Floats:
    # (N - 1) MSR is half the spread of the raters' sum, (N - 1) MSE half that of their difference.
    spread_a, spread_b, common = _spreads(sums)
    return _ratio(2 * common, spread_a + spread_b)


def _pcc(sums: Floats) -> Floats:
    spread_a, spread_b, common = _spreads(sums)
    value = _ratio(common, np.sqrt(spread_a * spread_b))
    return np.where(spread_a > 0, np.where(spread_b > 0, value, 0.0), np.nan)


def _mae(sums: Floats) -> Floats:
    return _ratio(sums[..., 6], sums[..., 0])


def _mse(sums: Floats) -> Floats:
    return _ratio(sums[..., 7], sums[..., 0])


def _f1(sums: Floats) -> Floats:
    hits, false, missed, _ = np.moveaxis(sums, -1, 0)
    return np.where(hits + missed > 0, _ratio(2 * hits, 2 * hits + false + missed), np.nan)


def _accuracy(sums: Floats) -> Floats:
    return _ratio(sums[..., 0] + sums[..., 3], sums.sum(axis=-1))


_OF_MOMENTS = {"ICC": _icc, "MAE": _mae, "MSE": _mse, "PCC": _pcc}
_OF_COUNTS = {"F1": _f1, "accuracy": _accuracy}


def _ranked(
    truth: npt.ArrayLike,
    estimate: npt.ArrayLike,
    person: npt.NDArray[np.intp] | None = None,
    draws: npt.NDArray[np.int64] | None = None,
) -> tuple[Floats, Floats]:
    """Computes AUC and AP with every row counted as often as its person was drawn.

    Args:
        truth: (N, ...) presence, NaN where not coded.
        estimate: (N, ...) scores.
        person: (N,) column of `draws` for each row. None: everybody is one.
        draws: (R, S) how often each person was drawn. None: once.

    Returns:
        (R, ...) AUC and (R, ...) average precision.
    """
    a, b, coded = _coded(truth, estimate)
    person = np.zeros(len(a), np.intp) if person is None else person
    draws = np.ones((1, 1), np.int64) if draws is None else draws
    shape = (len(draws), *a.shape[1:])
    flat = [values.reshape(len(a), -1) for values in (a >= 0.5, b, coded)]
    columns = [
        _ranked_column(real[kept], value[kept], person[kept], draws)
        for real, value, kept in zip(*(values.T for values in flat), strict=True)
    ]
    areas = np.stack(columns, axis=-1)  # (2, R, ...)
    return areas[0].reshape(shape), areas[1].reshape(shape)


def _ranked_column(
    real: npt.NDArray[np.bool_],
    value: Floats,
    person: npt.NDArray[np.intp],
    draws: npt.NDArray[np.int64],
) -> Floats:
    order = np.argsort(-value, kind="stable")
    real, value, person = real[order], value[order], person[order]
    # Rows of equal value stand or fall together: from `first` up to, not including, `last`.
    first = np.flatnonzero(np.diff(value, prepend=np.inf))
    last = np.append(first[1:], len(value))
    # Both areas move only where a positive row is passed; the other ties need no look.
    useful = np.add.reduceat(real, first) > 0 if len(first) else np.zeros(0, bool)
    first, last = first[useful], last[useful]
    areas = np.full((2, len(draws)), np.nan)
    step = max(1, _CELLS // max(len(value), 1))
    for start in range(0, len(draws) if len(first) else 0, step):
        weight = np.zeros((len(draws[start : start + step]), len(value) + 1), np.int64)
        weight[:, 1:] = draws[start : start + step, person]
        passed = np.cumsum(weight, axis=1)
        weight[:, 1:][:, ~real] = 0
        hits = np.cumsum(weight, axis=1, out=weight)
        positives = hits[:, -1]
        negatives = passed[:, -1] - positives
        new, found, seen = hits[:, last] - hits[:, first], hits[:, last], passed[:, last]
        # A positive row beats the negatives behind its tie, and half of those within.
        beaten = negatives[:, None] - (seen - found + passed[:, first] - hits[:, first]) / 2
        areas[0, start : start + step] = _ratio(
            (new * beaten).sum(axis=1), (positives * negatives).astype(np.float64)
        )
        precision = found / np.maximum(seen, 1)
        areas[1, start : start + step] = _ratio(
            (new * precision).sum(axis=1), positives.astype(np.float64)
        )
    return areas


def _with_mean(values: Floats) -> Floats:
    """Adds the mean of what is known to (..., A): (..., A + 1)."""
    return np.concatenate([values, _quietly(np.nanmean, values, axis=-1, keepdims=True)], axis=-1)


def _quietly(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls a NaN-aware function of numpy: that nothing is known gives NaN, which is an answer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return function(*args, **kwargs)
