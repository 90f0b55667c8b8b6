"""How far off an intensity is likely to be, on numpy or on `keras.ops` alike."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from tfau.core.action_units import INTENSITY_MAX

Array = Any
"""An array of whichever namespace is passed as `xp`."""

_LEVELS = np.arange(INTENSITY_MAX, dtype="float32")  # 0 to 4: where a step up begins
_PRIOR_CROPS = 10.0
"""Weight of what is known of all units beside the crops of one, found on validation people."""


def expected_error(intensity: Array, table: Array, xp: ModuleType = np) -> Array:
    """Reads the expected absolute error of intensities from what a model got wrong before.

    Args:
        intensity: (..., A) in 0-5.
        table: (A, 6) expected absolute error where a unit is read as 0, 1, ... 5, see
            `fit_error_table`. Between levels it is a straight line.
        xp: Array namespace: `numpy` or `keras.ops`.

    Returns:
        (..., A), in intensity units; NaN where intensity or table are.

    Example:
        >>> expected_error(np.array([0.5]), np.array([[0.1, 0.7, 0.6, 0.5, 0.5, 0.5]])).round(2)
        array([0.4])
    """
    rise = table[:, 1:] - table[:, :-1]
    return table[:, 0] + xp.sum(_steps(intensity, xp) * rise, axis=-1)


def fit_error_table(intensity: npt.ArrayLike, truth: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Measures the expected absolute error of a model at each level.

    The lines between levels are fitted to the errors by least squares. A unit or a level with few
    crops leans on the errors of all units, and that where there is nothing on their mean.

    Args:
        intensity: (N, A) what the model says, in 0-5, of people it was not trained on.
        truth: (N, A); NaN where not coded.

    Returns:
        (A, 6), at levels 0 to 5; NaN for a unit that was never coded.
    """
    intensity, truth = np.asarray(intensity, np.float64), np.asarray(truth, np.float64)
    edges = np.ones((*intensity.shape, 1))
    reached = np.concatenate([edges, _steps(intensity, np), 0 * edges], axis=-1)
    shares = -np.diff(reached, axis=-1)  # (N, A, 6) how near to which level
    error = np.abs(intensity - truth)
    known = np.isfinite(error)

    def fit(known: npt.NDArray[np.bool_], prior: Array) -> Array:
        x, y = shares[known], error[known]
        weight = _PRIOR_CROPS * np.eye(x.shape[-1])
        return np.linalg.solve(x.T @ x + weight, x.T @ y + weight @ prior).clip(0.0)

    table = np.full(shares.shape[1:], np.nan)
    if known.any():
        of_all = fit(known, np.full(shares.shape[-1], error[known].mean()))
        for unit in np.flatnonzero(known.any(axis=0)):
            only = known & (np.arange(known.shape[1]) == unit)
            table[unit] = fit(only, of_all)
    return table


def level_deviation(levels: Array, xp: ModuleType = np) -> Array:
    """Returns the standard deviation of a level whose distribution is known.

    With p(k) = P(level >= k) for k = 1 to K, the level is the sum of K indicators of level >= k,
    so its mean is the sum of p(k). Its square is the sum of 2k - 1 over all k up to the level, so
    the mean of the square is the sum of (2k - 1) p(k), and the variance is the difference

        sum_k (2k - 1) p(k) - (sum_k p(k))^2.

    Args:
        levels: (..., K) probabilities of level 1 to K or more, which do not rise.
        xp: Array namespace: `numpy` or `keras.ops`.

    Returns:
        (...): the standard deviation, in levels.

    Example:
        >>> level_deviation(np.array([[1.0, 0.5, 0.5, 0.0, 0.0]]))  # level 1 or 3, as likely
        array([1.])
    """
    odd = np.arange(1, 2 * levels.shape[-1], 2, dtype="float32")
    mean = xp.sum(levels, axis=-1)
    # Rounding makes a certain level vary by a little less than nothing.
    return xp.sqrt(xp.maximum(xp.sum(levels * odd, axis=-1) - mean * mean, 0.0))


def _steps(intensity: Array, xp: ModuleType) -> Array:
    """Returns how much of the way from each level to the next is gone: (..., 5) in [0, 1]."""
    return xp.clip(intensity[..., None] - _LEVELS, 0.0, 1.0)
