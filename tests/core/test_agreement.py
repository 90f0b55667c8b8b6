"""Agreement metrics against numbers worked out elsewhere, and what they promise."""

import warnings

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


def test_icc_is_that_of_pingouin():
    """Row ICC(C,1) of pingouin: two fixed raters, consistency, single scores."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies
        pingouin = pytest.importorskip("pingouin")
    pandas = pytest.importorskip("pandas")
    for seed in range(200):
        rng = np.random.default_rng(seed)
        n, level = rng.integers(5, 40), rng.uniform(0, 5)
        truth = rng.integers(0, 6, n) if seed % 2 else rng.uniform(0, 5, n)
        estimate = level * truth / 5 + rng.normal(level, 1, n)
        table = pandas.DataFrame(
            {
                "row": np.tile(np.arange(n), 2),
                "rater": np.repeat([0, 1], n),
                "score": np.concatenate([truth, estimate]),
            }
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = pingouin.intraclass_corr(table, "row", "rater", "score").set_index("Type")
        expected = rows["ICC"]["ICC(C,1)" if "ICC(C,1)" in rows.index else "ICC3"]
        assert agreement.icc(truth, estimate) == pytest.approx(expected, abs=1e-9)


def presence(seed: int, n: int = 60, *, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Codes of three units, some not coded, and scores that know something."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((n, 3)) < (0.1, 0.4, 0.8)).astype(float)
    truth[:2] = [[0], [1]]
    truth[2:][rng.random((n - 2, 3)) < 0.2] = np.nan
    estimate = 1 / (1 + np.exp(-np.nan_to_num(truth) - rng.normal(0, 1, (n, 3))))
    return truth, np.round(estimate, 1) if ties else estimate


@pytest.mark.parametrize("ties", [False, True])
def test_presence_metrics_are_those_of_scikit_learn(ties):
    sklearn = pytest.importorskip("sklearn.metrics")
    for seed in range(50):
        truth, estimate = presence(seed, ties=ties)
        for unit in range(3):
            coded = ~np.isnan(truth[:, unit])
            real, score = truth[coded, unit], estimate[coded, unit]
            expected = {
                "F1": sklearn.f1_score(real, score >= 0.5),
                "accuracy": sklearn.accuracy_score(real, score >= 0.5),
                "AUC": sklearn.roc_auc_score(real, score),
                "AP": sklearn.average_precision_score(real, score),
            }
            for name, metric in agreement.PRESENCE_METRICS.items():
                value = metric(truth, estimate)[unit]
                assert value == pytest.approx(expected[name], abs=1e-12), name


def test_a_unit_that_nobody_shows_has_no_f1_and_no_areas():
    truth, estimate = np.zeros(5), np.linspace(0, 1, 5)
    for metric in (agreement.f1, agreement.auc, agreement.average_precision):
        assert np.isnan(metric(truth, estimate))
    assert agreement.accuracy(truth, estimate) == pytest.approx(2 / 5)
    assert agreement.accuracy(truth, estimate, 2.0) == 1
    assert np.isnan(agreement.auc(np.ones(5), estimate))


ALL = {**agreement.METRICS, **agreement.PRESENCE_METRICS}


@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(ALL)))
def test_order_and_uncoded_rows_do_not_matter(seed, name):
    metric, (truth, estimate) = ALL[name], presence(seed)
    order = np.random.default_rng(seed).permutation(len(truth))
    np.testing.assert_allclose(metric(truth[order], estimate[order]), metric(truth, estimate))
    more = np.vstack([truth, np.full((1, 3), np.nan)]), np.vstack([estimate, np.ones((1, 3))])
    np.testing.assert_allclose(metric(*more), metric(truth, estimate))


@given(st.integers(0, 2**32 - 1), st.integers(1, 59))
def test_two_halves_are_the_whole(seed, cut):
    truth, estimate = presence(seed)
    for sums in (agreement.moments, agreement.counts):
        halves = sums(truth[:cut], estimate[:cut]) + sums(truth[cut:], estimate[cut:])
        np.testing.assert_allclose(halves, sums(truth, estimate))


def test_far_from_zero_little_is_lost():
    """About the centre of the data, the sums keep what raw sums would drown."""
    truth, estimate = np.random.default_rng(0).uniform(0, 5, (2, 1000))
    far = agreement.icc(truth + 1e6, estimate + 1e6)
    assert far == pytest.approx(agreement.icc(truth, estimate), abs=1e-9)
    assert np.isnan(agreement.pcc(np.full(1000, 0.1), estimate))


def people(seed: int, count: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Intensities of two units, of people who differ; the last is not coded in the second."""
    rng = np.random.default_rng(seed)
    subject = np.repeat(np.arange(count), 20)
    truth = rng.integers(0, 6, (len(subject), 2)).astype(float)
    truth[subject == count - 1, 1] = np.nan
    bias = rng.normal(0, 1, count)[subject, None]
    estimate = np.clip(np.nan_to_num(truth) + bias + rng.normal(0, 1, truth.shape), 0, 5)
    return truth, estimate, subject.astype(str)


def test_the_bootstrap_is_scoring_the_people_it_draws():
    """The sums of people drawn twice are what comes out if their rows are written twice."""
    truth, estimate, subject = people(0)
    positive = np.where(np.isnan(truth), np.nan, truth >= 2)
    draws = np.random.default_rng(5).multinomial(12, np.full(12, 1 / 12), size=200)
    for codes, metrics in ((truth, agreement.METRICS), (positive, agreement.PRESENCE_METRICS)):
        found = agreement.bootstrap(codes, estimate, subject, metrics, resamples=200, seed=5)
        for name, metric in metrics.items():
            slow = []
            # Words sort "0", "1", "10", "11", "2": the order in which people are drawn.
            for draw in draws:
                often = dict(zip(np.unique(subject), draw, strict=True))
                rows = np.repeat(np.arange(len(subject)), [often[who] for who in subject])
                slow.append(metric(codes[rows], estimate[rows]))
            slow = np.column_stack([slow, np.nanmean(slow, axis=1)])
            low, high = np.percentile(slow, (2.5, 97.5), axis=0)
            np.testing.assert_allclose(found[name].low, low, atol=1e-12)
            np.testing.assert_allclose(found[name].high, high, atol=1e-12)
            np.testing.assert_allclose(found[name].value[:-1], metric(codes, estimate))


def test_intervals_hold_the_value_and_are_repeatable():
    truth, estimate, subject = people(1)
    once = agreement.bootstrap(truth, estimate, subject, seed=3)
    again = agreement.bootstrap(truth, estimate, subject, seed=3)
    other = agreement.bootstrap(truth, estimate, subject, seed=4)
    for name, interval in once.items():
        assert (interval.low < interval.value).all()
        assert (interval.value < interval.high).all()
        np.testing.assert_array_equal(interval.low, again[name].low)
        assert (interval.low != other[name].low).any()


def test_people_who_are_all_alike_leave_no_doubt():
    truth = np.tile([[0.0], [2.0], [5.0]], (8, 1))
    interval = agreement.bootstrap(truth, truth + 1, np.repeat(np.arange(8), 3), ["MAE"])["MAE"]
    for values in (interval.value, interval.low, interval.high):
        np.testing.assert_array_equal(values, 1)


def test_one_person_gives_a_value_but_no_interval():
    truth, estimate, subject = people(2, count=2)  # the second unit is coded in one of them only
    interval = agreement.bootstrap(truth, estimate, subject, ["ICC"], resamples=50)["ICC"]
    assert np.isfinite(interval.value).all()
    assert np.isfinite(interval.low).tolist() == [True, False, True]
    alone = agreement.bootstrap(truth, estimate, np.full(40, "a"), ["ICC"])["ICC"]
    assert np.isnan(alone.low).all()
    np.testing.assert_allclose(alone.value, interval.value)
    nothing = agreement.bootstrap(truth * np.nan, estimate, subject, ["MAE", "AUC"])
    assert all(np.isnan(interval.value).all() for interval in nothing.values())


def test_a_difference_is_that_of_two_bootstraps_on_the_same_people():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 5, (300, 3))
    before = truth + rng.normal(0, 1, truth.shape)
    after = before + rng.normal(0, 0.1, truth.shape)
    subject = rng.integers(0, 20, 300)
    gaps = agreement.bootstrap_difference(truth, before, after, subject, seed=1)
    for name, gap in gaps.items():
        alone = [
            agreement.bootstrap(truth, estimate, subject, [name], seed=1)[name]
            for estimate in (before, after)
        ]
        np.testing.assert_allclose(gap.value, alone[1].value - alone[0].value, atol=1e-12)
        assert (gap.low <= gap.value).all()
        assert (gap.value <= gap.high).all()
        # What makes people easy or hard is in both.
        assert (gap.high - gap.low < (alone[0].high - alone[0].low) / 2).all()
    same = agreement.bootstrap_difference(truth, before, before, subject)["ICC"]
    assert np.array_equal(np.stack([same.value, same.low, same.high]), np.zeros((3, 4)))


def test_a_bootstrap_says_what_it_cannot_do():
    truth, estimate, subject = people(0)
    with pytest.raises(ValueError, match="Received: kappa"):
        agreement.bootstrap(truth, estimate, subject, ["kappa"])
    with pytest.raises(ValueError, match=r"\(N, A\)"):
        agreement.bootstrap(truth[:, 0], estimate[:, 0], subject)
    with pytest.raises(ValueError, match="resamples"):
        agreement.bootstrap(truth, estimate, subject, resamples=0)
