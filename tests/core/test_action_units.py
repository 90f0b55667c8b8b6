"""AUSet: the order of every column and channel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfau.core.action_units import ACTION_UNITS, AUSet

aus_sets = st.lists(st.sampled_from(sorted(ACTION_UNITS)), min_size=1, unique=True).map(AUSet)


def test_the_table_holds_the_units_the_field_uses():
    wanted = [1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 22, 23, 24, 25, 26, 27]
    assert set(wanted) | {28, 43, 45} <= set(ACTION_UNITS)
    assert all(unit.name and unit.muscles and unit.points for unit in ACTION_UNITS.values())


@given(aus_sets)
def test_a_set_survives_its_own_names(aus):
    assert AUSet.parse(",".join(aus.names)) == aus
    assert AUSet.parse(" ".join(map(str, aus.numbers))) == aus


@given(aus_sets)
def test_flipping_twice_changes_nothing_and_once_swaps_sides(aus):
    assert (aus.flip_index[aus.flip_index] == np.arange(len(aus.point_names))).all()
    for name, other in zip(aus.point_names, aus.flip_index, strict=True):
        swapped = name.replace("left", "L").replace("right", "left").replace("L", "right")
        assert aus.point_names[other] == swapped


@given(aus_sets, st.integers(0, 2**32 - 1))
def test_pooling_undoes_spreading(aus, seed):
    left, right = np.random.default_rng(seed).uniform(0, 5, (2, 3, len(aus)))
    np.testing.assert_allclose(aus.pool(aus.spread(left, right)), (left + right) / 2)


@given(aus_sets, st.randoms(use_true_random=False))
def test_a_shuffled_set_shuffles_columns_and_nothing_else(aus, random):
    numbers = list(aus.numbers)
    random.shuffle(numbers)
    shuffled = AUSet(numbers)
    values = np.random.default_rng(0).uniform(0, 5, (4, len(aus.point_names)))
    columns = [aus.index(number) for number in numbers]
    pooled = shuffled.pool(values[:, shuffled.points_of(aus)])
    np.testing.assert_array_equal(pooled, aus.pool(values)[:, columns])


def test_a_side_that_is_not_coded_does_not_count():
    aus = AUSet([12, 25])
    pooled = aus.pool([4.0, np.nan, np.nan, np.nan])
    assert pooled[0] == 4.0
    assert np.isnan(pooled[1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AUSet([99]), "no AU 99"),
        (lambda: AUSet([1, 1]), "must not repeat"),
        (lambda: AUSet([]), "at least one"),
        (lambda: AUSet.parse("12,smile"), "smile"),
        (lambda: AUSet([1, 2]).points_of(AUSet([1])), "AU"),
        (lambda: AUSet([1, 2]).index(4), "AU 4"),
    ],
)
def test_what_is_no_set_of_units_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
