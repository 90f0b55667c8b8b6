"""How wrong an intensity is expected to be: learnt from errors, or from probabilities of levels."""

import numpy as np
import pytest

from tfau.core.uncertainty import expected_error, fit_error_table, level_deviation

TABLE = np.array([[0.1, 1.2, 1.0, 0.7, 0.6, 0.4], [0.0, 0.6, 0.5, 0.5, 0.4, 0.3]])


def test_between_levels_the_error_is_a_straight_line():
    intensity = np.linspace(0, 5, 41)
    read = expected_error(np.stack([intensity, intensity], axis=-1), TABLE)
    for unit, errors in enumerate(TABLE):
        np.testing.assert_allclose(read[:, unit], np.interp(intensity, range(6), errors), atol=1e-6)


def test_what_is_not_known_stays_not_known():
    table = np.stack([TABLE[0], np.full(6, np.nan)])
    assert np.isnan(expected_error(np.array([np.nan, 2.0]), table)).all()
    assert expected_error(np.array([2.0, 2.0]), table)[0] == pytest.approx(1.0)


def test_the_table_is_the_mean_absolute_error_at_each_level():
    rng = np.random.default_rng(0)
    intensity = rng.uniform(0, 5, (40_000, 2))
    truth = intensity + expected_error(intensity, TABLE) * rng.laplace(0, 1, intensity.shape)
    np.testing.assert_allclose(fit_error_table(intensity, truth), TABLE, atol=0.05)


def test_a_unit_with_few_crops_leans_on_the_others():
    intensity = np.full((1000, 3), 2.0)
    truth = intensity + np.array([1.0, 1.0, 4.0])
    truth[1:, 2] = np.nan
    truth[:, 1] = np.nan
    table = fit_error_table(intensity, truth)
    assert table[0, 2] == pytest.approx(1.0, abs=0.01)
    assert 1.0 < table[2, 2] < 1.5
    # Levels that were never read have the mean of all errors; a unit never coded has none.
    np.testing.assert_allclose(table[0, [0, 1, 3, 4, 5]], 1003 / 1001 + 2e-5, atol=1e-2)
    assert np.isnan(table[1]).all()
    assert np.isnan(fit_error_table(intensity, np.full((1000, 3), np.nan))).all()


def test_the_deviation_of_a_level_is_that_of_its_samples():
    levels = np.sort(np.random.default_rng(0).random((4, 5)))[:, ::-1]
    # A level is drawn by one number u: k or more if u lies below P(level >= k).
    drawn = (np.random.default_rng(1).random((200_000, 1, 1)) < levels).sum(axis=-1)
    np.testing.assert_allclose(level_deviation(levels), drawn.std(axis=0), atol=0.01)


def test_a_certain_level_does_not_deviate():
    certain = np.tri(6, 5, k=-1, dtype="float32")  # levels 0 to 5
    assert level_deviation(certain).tolist() == [0.0] * 6
    almost = np.nextafter(certain, np.float32(0.5))
    assert np.isfinite(level_deviation(almost)).all()
