"""What may change a crop, one kind at a time and all together."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfau.core.action_units import AUSet
from tfau.data.augmentation import Augmentation

AUS = AUSet([12, 25])  # left, right, upper, lower
SIDE = 64
POINTS = np.array(
    [[20, 40, 1], [44, 41, 4], [32, 38, np.nan], [np.nan, np.nan, np.nan]], np.float32
)
GEOMETRY = {"flip": {"flip": 1}}
GEOMETRY |= {"rotate": {"rotation_deg": 10}, "scale": {"scale": 0.2}, "shift": {"shift": 0.1}}
LIGHT = {name: {name: 0.2} for name in ("brightness", "contrast", "saturation", "gain")}
LIGHT["grey"] = {"grey": 1}
REST = {
    "cut_out": {"cut_out": 1, "cut_out_side": 0.4},
    "blur": {"blur": 1, "blur_sigma": 0.02},
    "noise": {"noise": 1, "noise_std": 8},
    "jpeg": {"jpeg": 1, "jpeg_quality": 20},
}
KINDS = GEOMETRY | LIGHT | REST
STRENGTHS = {"cut_out": "cut_out_side", "blur": "blur_sigma", "noise": "noise_std"}


def only(**strengths):
    """An augmentation of which everything else is off."""
    return dataclasses.replace(Augmentation.none(), **strengths)


EVERYTHING = only(**{name: value for kind in KINDS.values() for name, value in kind.items()})


@pytest.fixture
def picture():
    """Colours between 60 and 180, so that little is clipped; smooth, as faces are."""
    random = np.random.default_rng(0).uniform(60, 180, (1, 16, 16, 3))
    return tf.image.resize(random, (SIDE, SIDE), "bicubic")[0].numpy().astype(np.float32)


def apply(augmentation, image, seed=0, points=POINTS):
    image, points = augmentation(
        tf.constant(image), tf.constant(points), AUS, tf.constant([7, seed], tf.int64)
    )
    return image.numpy(), points.numpy()


def luma(image):
    return image @ np.array([0.299, 0.587, 0.114], np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_changes_the_picture_and_points_only_where_it_must(kind, picture):
    for seed in range(3):
        image, points = apply(only(**KINDS[kind]), picture, seed)
        assert image.shape == picture.shape
        assert image.dtype == np.float32
        assert np.abs(image - picture).max() > 0.5
        assert (np.isnan(points) == np.isnan(POINTS)).all()
        assert np.array_equal(points, POINTS, equal_nan=True) == (kind not in GEOMETRY)


@pytest.mark.parametrize("kind", KINDS)
def test_without_share_or_strength_nothing_happens(kind, picture):
    off = [dict.fromkeys(KINDS[kind], 0)]
    if kind in STRENGTHS:
        off += [KINDS[kind] | {kind: 0}, KINDS[kind] | {STRENGTHS[kind]: 0}]
    elif kind == "jpeg":
        off += [KINDS[kind] | {kind: 0}]
    for strengths in off:
        image, points = apply(only(**strengths), picture)
        np.testing.assert_array_equal(image, picture)
        np.testing.assert_array_equal(points, POINTS)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "flip"])
def test_a_kind_does_the_same_in_any_company(kind, picture):
    """Mirroring comes first, and what is drawn for other kinds does not depend on it."""
    image, _ = apply(only(**KINDS[kind], flip=1), picture)
    expected, _ = apply(only(**KINDS[kind]), picture[:, ::-1])
    np.testing.assert_array_equal(image, expected)


def test_the_same_seed_gives_the_same_bits(picture):
    for one, again in zip(apply(EVERYTHING, picture), apply(EVERYTHING, picture), strict=True):
        np.testing.assert_array_equal(one, again)
    assert not np.array_equal(apply(EVERYTHING, picture, 1)[0], apply(EVERYTHING, picture, 0)[0])


@pytest.mark.parametrize("augmentation", [EVERYTHING, Augmentation()], ids=["strong", "default"])
def test_shape_and_range_stay_on_bright_and_dark_pictures(augmentation, picture):
    for seed in range(6):
        for image in (picture, picture * 0, picture * 0 + 255, (picture > 120) * np.float32(255)):
            changed, _ = apply(augmentation, image, seed)
            assert changed.shape == image.shape
            assert changed.min() >= 0
            assert changed.max() <= 255


def test_a_pipeline_does_what_a_call_does(picture):
    """Inside tf.data the same code is traced, and its conditions become part of a graph."""
    seeds = tf.data.Dataset.from_tensor_slices(np.array([[7, n] for n in range(4)]))
    batches = seeds.map(
        lambda seed: EVERYTHING(tf.constant(picture), tf.constant(POINTS), AUS, seed)
    )
    assert batches.element_spec[0].shape == (SIDE, SIDE, 3)
    for n, (image, points) in enumerate(batches.as_numpy_iterator()):
        expected, moved = apply(EVERYTHING, picture, n)
        np.testing.assert_allclose(points, moved, atol=1e-3)
        assert np.abs(image - expected).mean() < 0.5  # JPEG may round the other way


def test_a_mirror_exchanges_left_and_right_and_twice_is_nothing(picture):
    image, points = apply(only(flip=1), picture)
    np.testing.assert_array_equal(image, picture[:, ::-1])
    np.testing.assert_array_equal(points[0], [SIDE - 1 - 44, 41, 4])
    np.testing.assert_array_equal(points[1], [SIDE - 1 - 20, 40, 1])
    np.testing.assert_array_equal(points[2], [SIDE - 1 - 32, 38, np.nan])  # stays the upper one
    again = apply(only(flip=1), image, points=points)
    np.testing.assert_array_equal(again[0], picture)
    np.testing.assert_array_equal(again[1], POINTS)


def test_a_share_is_a_share(picture):
    flipped = [apply(only(flip=0.25), picture, seed)[1][0, 2] == 4 for seed in range(200)]
    assert 0.15 < np.mean(flipped) < 0.35


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
    strong = Augmentation(
        rotation_deg=25, scale=0.2, shift=0.1, grey=0.5, blur=0.5, jpeg=0.5, noise=0, cut_out=0
    )
    for n, place in enumerate(places):
        image, moved = strong(
            tf.constant(dot(place)), tf.constant(points), aus, tf.constant([3, seed], tf.int64)
        )
        moved = moved.numpy()
        flipped = moved[0, 2] != points[0, 2]
        mass = luma(image.numpy()) - luma(image.numpy()).min()
        mass = np.where(mass > mass.max() / 3, mass, 0)
        rows, columns = np.indices(mass.shape)
        seen = [(mass * columns).sum() / mass.sum(), (mass * rows).sum() / mass.sum()]
        expected = moved[1 - n if flipped else n]
        np.testing.assert_allclose(seen, expected[:2], atol=0.5)
        assert expected[2] == points[n, 2]


@pytest.mark.parametrize("seed", range(4))
def test_a_cut_out_is_a_rectangle_of_one_colour(seed, picture):
    image, _ = apply(only(**KINDS["cut_out"]), picture, seed)
    changed = (image != picture).any(axis=-1)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    inside = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert changed[inside].all()
    assert len(np.unique(image[inside].reshape(-1, 3), axis=0)) == 1
    assert max(len(rows), len(columns)) <= 0.4 * SIDE + 1


def test_light_does_what_its_names_say(picture):
    for seed in range(3):
        image, _ = apply(only(brightness=0.2), picture, seed)
        factor = image / picture
        np.testing.assert_allclose(factor, factor[0, 0, 0], rtol=1e-4)
        assert 0.8 <= factor[0, 0, 0] <= 1.2

        image, _ = apply(only(gain=0.2), picture, seed)
        factor = image / picture
        np.testing.assert_allclose(factor, np.broadcast_to(factor[0, 0], factor.shape), rtol=1e-4)
        assert len(np.unique(factor[0, 0].round(3))) == 3

        image, _ = apply(only(contrast=0.2), picture, seed)
        mean = luma(picture).mean()
        factor = (image - mean) / (picture - mean)
        np.testing.assert_allclose(np.median(factor), (image.std() / picture.std()), rtol=0.01)
        np.testing.assert_allclose(luma(image).mean(), mean, rtol=1e-4)

        image, _ = apply(only(saturation=0.2), picture, seed)
        np.testing.assert_allclose(luma(image), luma(picture), rtol=1e-4)

        image, _ = apply(only(grey=1), picture, seed)
        np.testing.assert_allclose(
            image, np.repeat(luma(picture)[..., None], 3, axis=-1), rtol=1e-4
        )


def test_blur_and_noise_are_as_strong_as_they_say(picture):
    for seed in range(3):
        blurred, _ = apply(only(**KINDS["blur"]), picture, seed)
        steps = [np.abs(np.diff(image, axis=0)).mean() for image in (picture, blurred)]
        assert steps[1] < steps[0]
        np.testing.assert_allclose(blurred.mean(), picture.mean(), rtol=1e-3)
        flat = np.full_like(picture, 90)
        np.testing.assert_allclose(apply(only(**KINDS["blur"]), flat, seed)[0], flat, rtol=1e-5)

        noise = apply(only(**KINDS["noise"]), picture, seed)[0] - picture
        assert 0 < noise.std() <= 8.2
        np.testing.assert_allclose(noise.mean(), 0, atol=0.5)
        np.testing.assert_allclose(
            np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1], 0, atol=0.1
        )


def test_a_strength_that_is_none_is_refused():
    with pytest.raises(ValueError, match="`flip` must be 0-1. Received: 1.5"):
        Augmentation(flip=1.5)
    with pytest.raises(ValueError, match="`shift` must be 0 or more. Received: -1"):
        Augmentation(shift=-1)
    with pytest.raises(ValueError, match="`jpeg_quality` must be 0-100. Received: 101"):
        Augmentation(jpeg_quality=101)
