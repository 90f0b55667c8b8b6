"""What is drawn: intensities, their weights on the rig, and the pictures' circumstances."""

from itertools import combinations

import numpy as np
import pytest

from tfau.core.action_units import ACTION_UNITS
from tfds_builders.synthetic_faces import sampling
from tfds_builders.synthetic_faces.sampling import (
    NUMBERS,
    PAIRED,
    PROTOTYPES,
    UNIT_TABLE,
    rig_weights,
    sample_backdrop,
    sample_expression,
    sample_shot,
)


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(5)
    return [sample_expression(rng) for _ in range(4000)]


def test_the_table_holds_known_units_only():
    assert set(ACTION_UNITS) >= set(NUMBERS)
    assert {unit for _, units in PROTOTYPES.values() for unit in units} <= set(NUMBERS)
    assert set(sampling._SPARSE) == set(NUMBERS)
    assert 43 not in NUMBERS  # the same closed lid as 45


def test_intensities_are_on_the_scale(drawn):
    values = [v for expression in drawn for sides in expression.values() for v in sides]
    assert min(values) >= 0
    assert max(values) <= 5
    assert all(max(sides) > 0 for expression in drawn for sides in expression.values())


def test_only_paired_units_differ_between_the_sides(drawn):
    uneven = {n for expression in drawn for n, (left, right) in expression.items() if left != right}
    assert uneven == PAIRED
    paired = [left != right for e in drawn for n, (left, right) in e.items() if n in PAIRED]
    assert np.mean(paired) == pytest.approx(0.2, abs=0.02)
    left_stronger = [left > right for e in drawn for left, right in e.values() if left != right]
    assert np.mean(left_stronger) == pytest.approx(0.5, abs=0.04)


def test_no_unit_is_rare(drawn):
    for number in NUMBERS:
        share = np.mean([np.mean(expression.get(number, (0, 0))) >= 1 for expression in drawn])
        assert share > 0.07, number


def test_conflicting_shapes_are_not_stacked(drawn):
    groups = sampling._EXCLUSIVE
    forbidden = {frozenset(pair) for group in groups for pair in combinations(sorted(group), 2)}
    assert frozenset({18, 28}) in forbidden
    for expression in drawn:
        assert not {frozenset(pair) for pair in combinations(expression, 2)} & forbidden


def test_weights_are_proportional_and_sided():
    assert rig_weights({12: (5.0, 2.5)}) == {
        "mouthSmile": (UNIT_TABLE[12]["mouthSmile"], UNIT_TABLE[12]["mouthSmile"] / 2)
    }
    both = rig_weights({6: (5.0, 5.0), 7: (5.0, 5.0)})
    assert both["eyeSquint"][0] == pytest.approx(
        UNIT_TABLE[6]["eyeSquint"] + UNIT_TABLE[7]["eyeSquint"]
    )


def test_labels_are_the_intensities_but_au25_is_measured():
    shot = sample_shot(np.random.default_rng(0), {12: (4.0, 1.0), 25: (3.0, 3.0)})
    left, right = shot.labels(opening=0.14)
    expected = np.zeros((2, len(NUMBERS)), np.float32)
    expected[:, NUMBERS.index(12)] = 4, 1
    expected[:, NUMBERS.index(25)] = 2.5
    np.testing.assert_allclose([left, right], expected, atol=1e-6)
    assert shot.labels(opening=2.0)[0][NUMBERS.index(25)] == 5


def test_a_blink_over_a_squint_does_not_cross_the_lids():
    alone = sample_shot(np.random.default_rng(1), {45: (5.0, 5.0)}).weights
    squinting = sample_shot(np.random.default_rng(1), {45: (5.0, 5.0), 7: (5.0, 0.0)}).weights
    assert squinting["eyeBlink"][0] < alone["eyeBlink"][0]
    assert squinting["eyeBlink"][1] == alone["eyeBlink"][1]


def test_the_same_seed_gives_the_same_picture():
    shots = [sample_shot(np.random.default_rng(3), {}) for _ in range(2)]
    image = np.full((40, 40, 3), 120, np.uint8)
    np.testing.assert_array_equal(shots[0].backdrop, shots[1].backdrop)
    np.testing.assert_array_equal(shots[0].develop(image), shots[1].develop(image))
    assert shots[0].develop(image).dtype == np.uint8


def test_poses_stay_in_range():
    rng = np.random.default_rng(4)
    poses = np.array([(s.yaw, s.pitch, s.roll) for s in (sample_shot(rng, {}) for _ in range(300))])
    assert (np.abs(poses) <= (25, 15, 10)).all()
    np.testing.assert_allclose(poses.mean(axis=0), 0, atol=2.5)


def test_backdrops_are_pictures():
    rng = np.random.default_rng(6)
    papers = [sample_backdrop(rng, 32) for _ in range(20)]
    assert all(paper.shape == (32, 32, 3) and paper.dtype == np.uint8 for paper in papers)
    assert np.std([paper.mean() for paper in papers]) > 20
