"""From a prepared folder to batches."""

import numpy as np
import pytest
import tensorflow as tf

import tfds_builders
from tfau.core.action_units import AUSet
from tfau.core.errors import DatasetError
from tfau.data.augmentation import Augmentation
from tfau.data.pipeline import PreparedSet

AUS = AUSet([25, 12])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return PreparedSet(
        tfds_builders.prepare("synthetic_faces/tiny", str(tmp_path_factory.mktemp("tfds")))
    )


def whole(data, split, aus, size):
    """Every crop and every point of a split."""
    images, points = zip(*data.batches(split, aus, size, 64).as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(points)


def test_a_split_comes_whole_and_in_order(data):
    images, points = whole(data, "test", AUS, 128)
    assert images.shape == (data.count("test"), 128, 128, 3)
    assert points.shape == (data.count("test"), 4, 3)
    again, _ = whole(data, "test", AUS, 128)
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(data.intensities("test", AUS), AUS.pool(points[..., 2]))


@pytest.mark.parametrize("count", [1, 7, 10**6])
def test_a_sample_is_spread_over_the_split(data, count):
    images, points = whole(data, "validation", AUS, 128)
    some, some_points = data.sample("validation", AUS, 128, count)
    assert len(some) == len(some_points) == min(count, len(images))
    assert some.dtype == np.uint8
    np.testing.assert_array_equal(some[0], images[0])
    np.testing.assert_array_equal(some_points[0], points[0])
    if count > 1:
        np.testing.assert_array_equal(some[-1], images[-1])


def test_units_are_picked_by_name(data):
    _, both = data.sample("validation", AUS, 128, 5)
    _, one = data.sample("validation", AUSet([12]), 128, 5)
    np.testing.assert_array_equal(both[:, 2:], one)
    with pytest.raises(ValueError, match="AU"):
        data.sample("validation", AUSet([13]), 128, 5)


def test_resizing_keeps_points_on_the_face(data):
    _, full = data.sample("validation", AUS, 128, 5)
    images, half = data.sample("validation", AUS, 64, 5)
    assert images.shape[1:] == (64, 64, 3)
    # The middle of the upper left pixel, (0, 0), is (.25 - .5) px after halving.
    np.testing.assert_allclose(half[..., :2], (full[..., :2] + 0.5) / 2 - 0.5, atol=1e-4)
    np.testing.assert_array_equal(half[..., 2], full[..., 2])


def test_training_batches_are_whole_shuffled_and_repeatable(data):
    def run(seed):
        return list(
            data.batches("train", AUS, 64, 100, augmentation=Augmentation(), seed=seed)
            .take(2)
            .as_numpy_iterator()
        )

    (images, points), _ = first = run(1)
    assert images.shape == (100, 64, 64, 3)
    assert points.shape == (100, 4, 3)
    assert images.min() >= 0
    assert images.max() <= 255
    for one, other in zip(first, run(1), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    assert not np.array_equal(run(2)[0][0], images)


def dot(place: np.ndarray) -> np.ndarray:
    """A white bump at x, y on black."""
    grid = np.arange(96, dtype=np.float32)
    along = [np.exp(-((grid - centre) ** 2) / 18) for centre in place]
    return np.repeat((along[1][:, None] * along[0])[..., None] * 200, 3, axis=-1)


@pytest.mark.parametrize("seed", range(8))
def test_points_move_with_the_picture(seed):
    """A dot drawn at a point is found at that point after any change, flips included."""
    aus = AUSet([12])
    places = np.array([[35.0, 60.0], [62.0, 58.0]], np.float32)
    points = np.column_stack([places, [1.0, 4.0]]).astype(np.float32)
    strong = Augmentation(rotation_deg=25, scale=0.2, shift=0.1, grey=0.5)
    for n, place in enumerate(places):
        image, moved = strong(
            tf.constant(dot(place)), tf.constant(points), aus, tf.constant([3, seed], tf.int64)
        )
        moved = moved.numpy()
        flipped = moved[0, 2] != points[0, 2]
        mass = image.numpy()[..., 0] - image.numpy()[..., 0].min()
        mass = np.where(mass > mass.max() / 3, mass, 0)
        rows, columns = np.indices(mass.shape)
        seen = [(mass * columns).sum() / mass.sum(), (mass * rows).sum() / mass.sum()]
        expected = moved[1 - n if flipped else n]
        np.testing.assert_allclose(seen, expected[:2], atol=0.5)
        assert expected[2] == points[n, 2]


def test_both_ways_of_a_flip_occur():
    points = tf.constant([[10.0, 20, 1], [50, 20, 4]])
    image = tf.zeros((64, 64, 3))
    flips = {
        float(Augmentation()(image, points, AUSet([12]), tf.constant([0, n], tf.int64))[1][0, 2])
        for n in range(20)
    }
    assert flips == {1.0, 4.0}


def test_a_folder_that_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="not a prepared data set"):
        PreparedSet(tmp_path)
