"""Agreement metrics against numbers worked out elsewhere, and what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfau.core import agreement
from tfau.core.action_units import AUSet


def icc_by_anova(table: np.ndarray) -> float:
    """ICC(3,1) from the two-way analysis of variance, for any number of raters."""
    n, k = table.shape
    grand = table.mean()
    rows = k * ((table.mean(axis=1) - grand) ** 2).sum() / (n - 1)
    columns = k * 0 + n * ((table.mean(axis=0) - grand) ** 2).sum()
    total = ((table - grand) ** 2).sum()
    rest = (total - rows * (n - 1) - columns) / ((n - 1) * (k - 1))
    return (rows - rest) / (rows + (k - 1) * rest)


def test_icc_of_the_example_of_shrout_and_fleiss():
    """Raters 1 and 2 of table 2 in the 1979 paper, worked through by the analysis of variance."""
    ratings = np.array([[9, 2], [6, 1], [8, 4], [7, 1], [10, 5], [6, 2]], float)
    expected = icc_by_anova(ratings)
    assert agreement.icc(ratings[:, 0], ratings[:, 1]) == pytest.approx(expected, abs=1e-12)
    # The four raters of the paper have ICC(3,1) = .71: the check's own check.
    other = np.array([[5, 8], [3, 2], [6, 8], [2, 6], [6, 9], [4, 7]], float)
    assert icc_by_anova(np.hstack([ratings, other])) == pytest.approx(0.71, abs=0.005)


@given(st.integers(0, 2**32 - 1), st.floats(-3, 3))
def test_icc_ignores_a_constant_offset_and_sees_scale(seed, offset):
    truth, estimate = np.random.default_rng(seed).uniform(0, 5, (2, 40))
    value = agreement.icc(truth, estimate)
    assert agreement.icc(truth, estimate + offset) == pytest.approx(value)
    assert agreement.icc(truth, truth) == pytest.approx(1)
    assert agreement.icc(truth, truth * 0.2) < 0.5
    assert agreement.pcc(truth, truth * 0.2 + offset) == pytest.approx(1)


def test_a_constant_scores_nothing():
    truth = np.array([0.0, 1, 2, 5])
    assert agreement.icc(truth, np.full(4, 2.0)) == pytest.approx(0)
    assert agreement.pcc(truth, np.full(4, 2.0)) == 0
    assert np.isnan(agreement.pcc(np.ones(4), truth))


def test_rows_that_are_not_coded_do_not_count():
    rng = np.random.default_rng(2)
    truth, estimate = rng.uniform(0, 5, (2, 30, 3))
    holes = truth.copy()
    holes[::3, 1] = np.nan
    kept = ~np.isnan(holes[:, 1])
    for metric in agreement.METRICS.values():
        values = metric(holes, estimate)
        assert values[1] == pytest.approx(metric(truth[kept, 1], estimate[kept, 1]))
        assert values[0] == pytest.approx(metric(truth[:, 0], estimate[:, 0]))


def test_a_face_that_was_not_found_costs():
    truth = np.array([0.0, 2, 4, 1])
    missing = np.array([0.0, 2, np.nan, 1])
    assert agreement.mae(truth, missing) == pytest.approx(1.0)
    assert agreement.icc(truth, missing) < 1


def test_scores_pool_over_the_data_set_and_leave_out_what_nobody_coded():
    truth = np.array([[0.0, np.nan], [5, np.nan], [2, np.nan]])
    table = agreement.score(AUSet([12, 25]), truth, np.array([[0.0, 1], [9, 1], [2, 1]]))
    assert table["AU12"] == {"ICC": 1, "MAE": 0, "MSE": 0, "PCC": 1}  # 9 is clipped to 5
    assert np.isnan(table["AU25"]["ICC"])
    assert table["mean"]["ICC"] == 1


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="Received"):
        agreement.icc(np.zeros(3), np.zeros(4))
