"""Which few examples show all that there is to see."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tfau.data.coverage import cover


@given(st.integers(0, 40), st.integers(0, 4), st.integers(0, 50), st.integers(0, 3))
def test_rows_are_different_ordered_and_as_many_as_wished(total, units, count, seed):
    intensity = np.random.default_rng(seed).uniform(0, 5, (total, units))
    rows = cover(intensity, count, seed=seed)
    assert len(rows) == min(total, count)
    assert (np.diff(rows) > 0).all()
    assert set(rows.tolist()) <= set(range(total))
    assert np.array_equal(rows, cover(intensity, count, seed=seed))


def test_the_strongest_of_every_unit_are_there():
    intensity = np.random.default_rng(0).uniform(0, 1, (5000, 12))
    strong = np.arange(12) * 400
    intensity[strong, np.arange(12)] = 5
    assert set(strong.tolist()) <= set(cover(intensity, 64).tolist())


def test_half_are_drawn_at_random_and_seeds_differ():
    intensity = np.zeros((10_000, 1))
    intensity[:500] = np.arange(500)[:, None]
    chosen = [set(cover(intensity, 100, seed=seed).tolist()) for seed in (0, 1)]
    assert chosen[0] != chosen[1]
    for rows in chosen:
        assert set(range(450, 500)) <= rows
        assert 30 < len(rows - set(range(500))) <= 50


def test_what_is_not_coded_is_not_strong():
    intensity = np.array([[np.nan], [np.nan], [1.0], [np.nan]])
    assert all(2 in cover(intensity, 2, seed=seed) for seed in range(8))
