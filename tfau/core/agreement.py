"""How well estimates agree with codes: over a whole data set, NaN where a unit is not coded.

All functions take truth and estimate as (N,) or (N, ...) and reduce the first axis over the rows in
which the truth is coded. A row whose truth is coded and whose estimate is NaN counts as an
estimate of 0: a face that was not found must not improve a score.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tfau.core.action_units import INTENSITY_MAX, AUSet

Floats = npt.NDArray[np.float64]


def _masked(truth: npt.ArrayLike, estimate: npt.ArrayLike) -> tuple[Any, Any]:
    truth, estimate = np.asarray(truth, np.float64), np.asarray(estimate, np.float64)
    if truth.shape != estimate.shape:
        raise ValueError(f"Shapes must be equal. Received: {truth.shape} and {estimate.shape}.")
    mask = np.isnan(truth)
    return np.ma.array(truth, mask=mask), np.ma.array(np.nan_to_num(estimate), mask=mask)


def _plain(values: Any) -> Floats:
    return np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan)


def icc(truth: npt.ArrayLike, estimate: npt.ArrayLike) -> Floats:
    """Computes ICC(3,1), consistency of two fixed raters on single scores.

    Returns:
        (MSR - MSE) / (MSR + MSE), from -1 to 1; 0 for a constant estimate; NaN where the truth
        has fewer than two coded rows or both raters are constant.

    References:
        Shrout and Fleiss, "Intraclass correlations", Psychological Bulletin 86(2), 1979. The
        same as row 3 of `psych::ICC` in R.
    """
    a, b = _masked(truth, estimate)
    n = np.ma.count(a, axis=0)
    total, gap = (a + b) / 2, a - b
    rows = 2 * ((total - total.mean(axis=0)) ** 2).sum(axis=0)  # (n - 1) MSR
    rest = ((gap - gap.mean(axis=0)) ** 2).sum(axis=0) / 2  # (n - 1) MSE
    with np.errstate(invalid="ignore", divide="ignore"):
        value = _plain(rows - rest) / _plain(rows + rest)
    return np.where(n >= 2, value, np.nan)


def pcc(truth: npt.ArrayLike, estimate: npt.ArrayLike) -> Floats:
    """Computes Pearson's correlation; 0 where only the estimate is constant."""
    a, b = _masked(truth, estimate)
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    spread_a, spread_b = _plain((a**2).sum(axis=0)), _plain((b**2).sum(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        value = _plain((a * b).sum(axis=0)) / np.sqrt(spread_a * spread_b)
    return np.where(spread_a > 0, np.where(spread_b > 0, value, 0.0), np.nan)


def mae(truth: npt.ArrayLike, estimate: npt.ArrayLike) -> Floats:
    """Computes the mean absolute error, in intensity units."""
    a, b = _masked(truth, estimate)
    return _plain(np.ma.abs(a - b).mean(axis=0))


def mse(truth: npt.ArrayLike, estimate: npt.ArrayLike) -> Floats:
    """Computes the mean squared error, in squared intensity units."""
    a, b = _masked(truth, estimate)
    return _plain(((a - b) ** 2).mean(axis=0))


METRICS = {"ICC": icc, "MAE": mae, "MSE": mse, "PCC": pcc}


def score(aus: AUSet, truth: npt.ArrayLike, estimate: npt.ArrayLike) -> dict[str, dict[str, float]]:
    """Scores every unit of a set, and their mean.

    Args:
        aus: The A units, in column order.
        truth: (N, A) coded intensities, NaN where not coded.
        estimate: (N, A) estimates; clipped to 0-5 first, as the field does.

    Returns:
        `{"AU01": {"ICC": ..., "MAE": ..., "MSE": ..., "PCC": ...}, ..., "mean": {...}}`. The mean
        leaves out units whose score is NaN.
    """
    estimate = np.clip(np.asarray(estimate, np.float64), 0.0, INTENSITY_MAX)
    columns = {name: np.atleast_1d(metric(truth, estimate)) for name, metric in METRICS.items()}
    table = {
        unit: {name: float(column[a]) for name, column in columns.items()}
        for a, unit in enumerate(aus.names)
    }
    table["mean"] = {
        name: float(np.nanmean(column)) if not np.isnan(column).all() else float("nan")
        for name, column in columns.items()
    }
    return table
