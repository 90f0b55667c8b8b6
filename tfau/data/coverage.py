"""Which few examples show all that there is to see."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def cover(intensity: npt.ArrayLike, count: int, *, seed: int = 0) -> npt.NDArray[np.intp]:
    """Chooses examples of which half are drawn at random, and half show each unit at its strongest.

    The widest range that a network meets is that of rare units and of high intensities, which a
    random choice of a few hundred faces may well miss.

    Args:
        intensity: (N, A) what is known or estimated of N examples; NaN where nothing is.
        count: How many to choose; all, where there are no more.
        seed: Decides the choice.

    Returns:
        (n,) rows in ascending order, n = min(N, count).

    Example:
        >>> cover([[0.0, 0.0], [5.0, 0.0], [0.0, 1.0], [0.0, 0.0]], 2).shape
        (2,)
    """
    values = np.nan_to_num(np.asarray(intensity, np.float64))
    total, units = values.shape
    shuffled = np.random.default_rng(seed).permutation(total)
    # Stable, so that among equals the order is that of the shuffle.
    strongest = shuffled[np.argsort(-values[shuffled], axis=0, kind="stable")]  # (N, A)
    chosen: dict[int, None] = dict.fromkeys(shuffled[: -(-count // 2)].tolist())
    for row in strongest.ravel().tolist() if units else shuffled.tolist():
        if len(chosen) >= min(count, total):
            break
        chosen[row] = None
    return np.sort(np.fromiter(chosen, np.intp))
