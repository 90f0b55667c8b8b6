"""From prepared folders to batches."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from hypothesis import given
from hypothesis import strategies as st

from tfau.core.action_units import AUSet
from tfau.core.errors import DatasetError
from tfau.core.examples import EMOTIONS
from tfau.data import pipeline
from tfau.data.augmentation import Augmentation
from tfau.data.pipeline import Labels, PreparedSet, balance
from tfau.models.losses import HeatmapLoss

AUS = AUSet([25, 12])
A, B = AUSet([12, 4]), AUSet([25, 12, 9])
EVERY = {"zoo": range(3), "test": range(3, 9), "train": range(9, 29), "validation": range(29, 34)}


def whole(batches):
    """Every crop, point and presence."""
    images, labels = zip(*batches.as_numpy_iterator(), strict=True)
    return (
        np.concatenate(images),
        np.concatenate([label["points"] for label in labels]),
        np.concatenate([label["presence"] for label in labels]),
    )


def numbers(batches):
    """Which of the made examples come out, by the grey of their pictures."""
    images, *_ = whole(batches)
    np.testing.assert_array_equal(images.min(axis=(1, 2, 3)), images.max(axis=(1, 2, 3)))
    return images[:, 0, 0, 0].astype(int)


@pytest.fixture
def two(make):
    """30 of set a (AU12, AU4; 64 px; one split), 10 of set b (AU25, AU12, AU9; 32 px; two)."""
    return PreparedSet(
        make(A, 64, {"everyone": range(30, 60)}, name="a"),
        make(B, 32, {"train": range(6), "test": range(6, 10)}, name="b"),
    )


def test_labels_are_what_was_prepared_in_the_order_of_reading(make):
    data = PreparedSet(make(A, 32, EVERY))
    labels = data.labels
    assert len(labels) == len(data) == 34
    expected = ["train"] * 20 + ["validation"] * 5 + ["test"] * 6 + ["zoo"] * 3
    np.testing.assert_array_equal(labels.split, expected)
    for split, rows in EVERY.items():
        assert sorted(labels.frame[labels.split == split]) == list(rows)
    n = labels.frame
    np.testing.assert_array_equal(labels.subject, [f"person{i % 5}" for i in n])
    np.testing.assert_array_equal(labels.sequence, [f"séance{i}" for i in n])
    np.testing.assert_array_equal(labels.group, np.where(n % 2, "odd", "even"))
    np.testing.assert_array_equal(labels.emotion, [""] * 34)
    np.testing.assert_array_equal(labels.dataset, ["made/1.2.3"] * 34)
    nothing = np.full(34, np.nan)
    np.testing.assert_array_equal(labels.intensity, np.stack([n % 6, nothing], axis=1))
    np.testing.assert_array_equal(labels.presence, np.stack([nothing, n % 2], axis=1))
    assert labels.intensity.dtype == labels.presence.dtype == np.float32
    np.testing.assert_array_equal(numbers(data.batches(np.ones(34, bool), A, 32, 8)), n)


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_the_order_is_that_of_tfds(make, file_format):
    folder = make(A, 32, {"everyone": range(40)}, file_format=file_format)
    builder = tfds.builder_from_directory(folder)
    if file_format == "tfrecord":
        config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
        source = builder.as_dataset(split="everyone", read_config=config).as_numpy_iterator()
    else:
        source = builder.as_data_source("everyone")
    frames = [int(example["frame"]) for example in source]
    data = PreparedSet(folder)
    np.testing.assert_array_equal(data.labels.frame, frames)
    np.testing.assert_array_equal(numbers(data.batches(np.ones(40, bool), A, 32, 7)), frames)


def test_a_set_of_an_earlier_version_is_read(make):
    data = PreparedSet(make(A, 32, {"everyone": range(7)}, old=True))
    labels = data.labels
    assert data.presence_from == (None,)
    assert np.isnan(labels.presence).all()
    assert set(labels.group) == set(labels.emotion) == {""}
    np.testing.assert_array_equal(labels.intensity[:, 0], labels.frame % 6)
    _, points, presence = whole(data.batches(np.ones(7, bool), A, 32, 4))
    np.testing.assert_array_equal(points[:, 0, 0], labels.frame)
    assert presence.shape == (7, 2)
    assert np.isnan(presence).all()


def test_emotions_are_told_apart_and_nan_where_none_was_coded(make):
    words = ("surprise", "", "anger", "neutral", "happy", "contentment")
    data = PreparedSet(
        make(A, 32, {"everyone": range(12)}, emotions=words),
        make(A, 32, {"everyone": range(3)}, name="old", old=True),
    )
    batches = data.batches(np.ones(15, bool), A, 32, 4)
    assert batches.element_spec[1]["emotion"].shape == (None, 7)
    emotion = np.concatenate([label["emotion"] for _, label in batches.as_numpy_iterator()])
    assert emotion.dtype == np.float32
    for word, row in zip(data.labels.emotion, emotion, strict=True):
        none = np.full(7, np.nan)
        np.testing.assert_array_equal(
            row, np.equal(EMOTIONS, word) if word in EMOTIONS else none, word
        )
    assert np.isnan(emotion[12:]).all()
    assert (np.nansum(emotion, axis=0) > 0).tolist() == [True, *[False] * 3, True, False, True]


def test_several_sets_are_one(two):
    assert two.name == "a/1.2.3+b/1.2.3"
    assert (two.licence, two.crop_size) == ("CC0", 64)
    assert two.description == "Grey pictures of a. Grey pictures of b."
    assert two.presence_from == (2.0, 2.0)
    assert two.aus == AUSet([12, 4, 25, 9])
    labels = two.labels
    np.testing.assert_array_equal(labels.dataset, ["a/1.2.3"] * 30 + ["b/1.2.3"] * 10)
    np.testing.assert_array_equal(labels.split, ["everyone"] * 30 + ["train"] * 6 + ["test"] * 4)
    a, b = labels.intensity[:30], labels.intensity[30:]
    np.testing.assert_array_equal(a[:, 0], labels.frame[:30] % 6)  # AU12
    assert np.isnan(a[:, 1:]).all()  # AU4: presence alone; AU25 and AU9: not in this set
    np.testing.assert_array_equal(b[:, 2], labels.frame[30:] % 6)  # AU25
    np.testing.assert_array_equal(labels.presence[:30, 1], labels.frame[:30] % 2)
    assert np.isnan(labels.presence[:30, 2:]).all()
    assert np.isnan(labels.presence[30:, 1]).all()


def test_points_of_missing_units_are_nan_and_others_are_where_they_were(two):
    aus = AUSet([4, 25, 12])
    _, points, presence = whole(two.batches(np.ones(40, bool), aus, 64, 16))
    frame = two.labels.frame.astype(np.float32)
    a, b = points[:30], points[30:]
    np.testing.assert_array_equal(a[:, 4:, 0], np.stack([frame[:30]] * 2, axis=1))
    np.testing.assert_array_equal(a[:, 4:, 1], np.tile([0.0, 1.0], (30, 1)))
    np.testing.assert_array_equal(a[:, :2, 1], np.tile([2.0, 3.0], (30, 1)))
    assert np.isnan(a[:, :2, 2]).all()  # AU4 has a place there, and presence alone
    assert np.isnan(a[:, 2:4]).all()  # x, y and intensity of AU25
    assert np.isnan(b[:, :2]).all()
    np.testing.assert_array_equal(b[:, 2, 0], (frame[30:] + 0.5) * 2 - 0.5)  # 32 px to 64 px
    np.testing.assert_array_equal(presence, two.labels.presence[:, [1, 2, 0]])


def test_any_size_may_be_asked_of_any_set(two):
    for size in (32, 48, 64):
        images, points, _ = whole(two.batches(np.ones(40, bool), AUSet([12]), size, 40))
        assert images.shape == (40, size, size, 3)
        x = np.concatenate([two.labels.frame[:30] + 0.5, (two.labels.frame[30:] + 0.5) * 2])
        np.testing.assert_allclose(points[:, 0, 0], x * size / 64 - 0.5, rtol=1e-6)
        np.testing.assert_allclose(images[:, 0, 0, 0], two.labels.frame, atol=1e-3)


def test_rows_choose_and_repeat(two):
    counts = np.zeros(40, int)
    counts[[2, 5, 31, 38]] = [1, 3, 2, 1]
    expected = np.repeat(two.labels.frame, counts)
    assert two.count(counts) == len(expected) == 7
    batches = two.batches(counts, AUSet([12]), 64, 3)
    assert batches.cardinality() == 3
    np.testing.assert_array_equal(numbers(batches), expected)
    shuffled = two.batches(counts, AUSet([12]), 64, 1, seed=3)
    assert shuffled.cardinality() == 7
    assert sorted(numbers(shuffled)) == sorted(expected)
    assert two.batches(counts, AUSet([12]), 64, 3, seed=3).cardinality() == 2
    assert len(numbers(two.batches(counts, AUSet([12]), 64, 3, seed=3))) == 6


def test_repetitions_are_changed_differently(tiny):
    once = np.zeros(len(tiny), int)
    once[7] = 4
    images, points, _ = whole(tiny.batches(once, AUS, 64, 4, augmentation=Augmentation(), seed=0))
    for n in range(1, 4):
        assert not np.array_equal(images[0], images[n])
        assert not np.array_equal(points[0], points[n])


def test_pictures_of_rows_left_out_are_not_decoded(make):
    data = PreparedSet(make(A, 32, {"everyone": range(20)}, broken=[3, 11]))
    good = ~np.isin(data.labels.frame, [3, 11])
    assert len(numbers(data.batches(good, A, 32, 4))) == 18
    with pytest.raises(tf.errors.InvalidArgumentError):
        whole(data.batches(~good, A, 32, 4))


@pytest.mark.parametrize("cache", [False, True])
def test_the_same_seed_gives_the_same_bits(two, cache):
    def run(seed, cache=cache):
        rows = np.ones(40, bool)
        options = {"augmentation": Augmentation(), "seed": seed, "cache": cache}
        return two.batches(rows, two.aus, 32, 8, **options)

    first = whole(run(1))
    for again in (whole(run(1)), whole(run(1, cache=not cache))):
        for one, other in zip(first, again, strict=True):
            np.testing.assert_array_equal(one, other)
    twice = run(1)
    np.testing.assert_array_equal(whole(twice)[0], whole(twice)[0])
    assert not np.array_equal(whole(run(2))[0], first[0])


def test_what_is_cached_is_not_read_again(make):
    folder = make(A, 32, {"everyone": range(9)})
    data = PreparedSet(folder)
    rows = np.ones(9, bool)
    frames = numbers(data.batches(rows, A, 32, 4, cache=True))
    for path in folder.glob("*.tfrecord*"):
        path.unlink()
    np.testing.assert_array_equal(numbers(data.batches(rows, A, 32, 4, cache=True)), frames)
    with pytest.raises(tf.errors.NotFoundError):
        numbers(data.batches(rows, A, 32, 4))


def test_sets_are_mixed_through_the_whole_epoch(make, monkeypatch):
    """However few crops wait for their turn, no set runs ahead by more than their number."""
    monkeypatch.setattr(pipeline, "_SHUFFLED", 8)
    a, b = {"everyone": range(150)}, {"everyone": range(200, 250)}
    data = PreparedSet(make(A, 32, a, name="a"), make(A, 32, b, name="b"))
    seen = numbers(data.batches(np.ones(200, bool), A, 32, 1, seed=0))
    assert sorted(seen) == sorted(data.labels.frame)
    assert not np.array_equal(seen[seen < 200], data.labels.frame[:150])
    ahead = np.cumsum(seen >= 200) - np.arange(1, 201) / 4
    assert np.abs(ahead).max() <= 8 + 1


@pytest.mark.parametrize("lengths", [[5], [30, 10], [1, 99], [7, 7, 21]])
def test_turns_are_even(lengths):
    turns = pipeline._evenly(lengths)
    np.testing.assert_array_equal(np.bincount(turns), lengths)
    for stream, length in enumerate(lengths):
        ahead = np.cumsum(turns == stream) - np.arange(1, sum(lengths) + 1) * length / sum(lengths)
        assert np.abs(ahead).max() <= 1


def test_losses_of_points_that_are_not_coded_pull_at_nothing(two):
    aus = two.aus
    _, points, _ = whole(two.batches(np.ones(40, bool), aus, 64, 20, seed=0))
    known = ~np.isnan(points).any(axis=-1)  # (B, P)
    assert known.any()
    assert not known.all()
    maps = tf.Variable(
        np.random.default_rng(0).normal(size=(len(points), 16, 16, len(aus.point_names))),
        tf.float32,
    )
    with tf.GradientTape() as tape:
        loss = HeatmapLoss(64)(tf.constant(points), maps)
    gradient = np.abs(tape.gradient(loss, maps).numpy()).max(axis=(1, 2))  # (B, P)
    np.testing.assert_array_equal(gradient > 0, known)


@pytest.mark.parametrize("count", [1, 7, 10**6])
def test_a_sample_is_spread_over_the_choice(tiny, count):
    rows = tiny.labels.split == "validation"
    images, points, _ = whole(tiny.batches(rows, AUS, 128, 64))
    some, some_points = tiny.sample(rows, AUS, 128, count)
    assert len(some) == len(some_points) == min(count, len(images))
    assert some.dtype == np.uint8
    np.testing.assert_array_equal(some[0], images[0])
    np.testing.assert_array_equal(some_points[0], points[0])
    if count > 1:
        np.testing.assert_array_equal(some[-1], images[-1])


def test_units_are_picked_by_name(tiny):
    rows = tiny.labels.split == "validation"
    _, both = tiny.sample(rows, AUS, 128, 5)
    _, one = tiny.sample(rows, AUSet([12]), 128, 5)
    np.testing.assert_array_equal(both[:, 2:], one)
    with pytest.raises(ValueError, match="AU"):
        tiny.sample(rows, AUSet([13]), 128, 5)


def test_labels_agree_with_the_points_that_come_out(tiny):
    rows = tiny.labels.split == "test"
    images, points, _ = whole(tiny.batches(rows, AUS, 128, 64))
    assert images.shape == (tiny.count(rows), 128, 128, 3)
    columns = [tiny.aus.index(number) for number in AUS.numbers]
    np.testing.assert_array_equal(tiny.labels.intensity[rows][:, columns], AUS.pool(points[..., 2]))


def test_resizing_keeps_points_on_the_face(tiny):
    rows = tiny.labels.split == "validation"
    _, full = tiny.sample(rows, AUS, 128, 5)
    images, half = tiny.sample(rows, AUS, 64, 5)
    assert images.shape[1:] == (64, 64, 3)
    # The middle of the upper left pixel, (0, 0), is (.25 - .5) px after halving.
    np.testing.assert_allclose(half[..., :2], (full[..., :2] + 0.5) / 2 - 0.5, atol=1e-4)
    np.testing.assert_array_equal(half[..., 2], full[..., 2])


def test_batches_have_the_shapes_that_keras_wants_to_know(tiny):
    batches = tiny.batches(
        np.ones(len(tiny), bool), AUS, 64, 100, augmentation=Augmentation(), seed=1
    )
    images, labels = batches.element_spec
    assert images.shape == (100, 64, 64, 3)
    assert labels["points"].shape == (100, 4, 3)
    assert labels["presence"].shape == (100, 2)
    images, _ = next(batches.as_numpy_iterator())
    assert images.min() >= 0
    assert images.max() <= 255


@pytest.mark.parametrize(
    "rows",
    [np.ones(39, bool), np.ones((40, 1), bool), np.ones(40, np.float32), np.full(40, -1)],
)
def test_a_choice_that_is_none_is_refused(two, rows):
    with pytest.raises(ValueError, match=r"`rows` must be \(40,\).*Received"):
        two.count(rows)


def test_nothing_to_read_is_refused(two):
    with pytest.raises(ValueError, match="`rows` must choose.*Received"):
        two.batches(np.zeros(40, bool), A, 64, 4)
    with pytest.raises(ValueError, match="`rows` must choose.*Received"):
        two.sample(np.zeros(40, bool), A, 64, 4)
    with pytest.raises(ValueError, match="`augmentation` must.*Received"):
        two.batches(np.ones(40, bool), A, 64, 4, augmentation=Augmentation())


def test_a_folder_that_is_no_data_set_is_refused(tmp_path, make):
    with pytest.raises(DatasetError, match="not a prepared data set"):
        PreparedSet(tmp_path)
    with pytest.raises(ValueError, match="`folders` must.*Received"):
        PreparedSet()
    folder = make(A, 32, {"everyone": range(3)})
    with pytest.raises(ValueError, match="`folders` must be different.*Received"):
        PreparedSet(folder, folder)


def test_a_damaged_folder_is_one_sentence(make):
    folder = make(A, 32, {"everyone": range(3)})
    (path,) = folder.glob("*.tfrecord*")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    with pytest.raises(DatasetError, match="cannot be read"):
        _ = PreparedSet(folder).labels
    path.write_bytes(b"")
    with pytest.raises(DatasetError, match="prepare it again"):
        _ = PreparedSet(folder).labels


def table(intensity, presence=None):
    """Labels of which only the codes matter."""
    intensity = np.asarray(intensity, np.float32)
    text, frame = np.full(len(intensity), ""), np.arange(len(intensity))
    presence = np.full_like(intensity, np.nan) if presence is None else presence
    return Labels(text, text, text, text, text, text, frame, intensity, np.asarray(presence))


def test_balance_repeats_what_is_rare():
    """AU a is in 1 of 100 examples: sqrt(.04 / .01) = 2; b in 50; c is coded as presence."""
    intensity = np.zeros((100, 3))
    intensity[0, 0], intensity[:50, 1], intensity[:, 2] = 3, 1, np.nan
    presence = np.full((100, 3), np.nan)
    presence[:, 2] = 0
    presence[99, 2] = 1
    labels = table(intensity, presence)
    expected = np.ones(100, int)
    expected[[0, 99]] = 2
    np.testing.assert_array_equal(balance(labels, np.ones(100, bool), 0.04, seed=0), expected)
    expected[99] = 1
    np.testing.assert_array_equal(
        balance(labels, np.ones(100, bool), 0.04, seed=0, columns=[0, 1]), expected
    )
    few = np.arange(100) < 25  # there the unit is in 1 of 25: just not rare
    np.testing.assert_array_equal(balance(labels, few, 0.04, seed=0), few)


def test_balance_rounds_by_chance_and_holds_on_average():
    intensity = np.zeros((10_000, 1))
    intensity[:100] = 2  # 1 %: sqrt(.0225 / .01) = 1.5
    ones = np.ones(10_000, bool)
    counts = balance(table(intensity), ones, 0.0225, seed=5)
    assert set(counts[:100]) == {1, 2}
    assert 130 <= counts[:100].sum() <= 170
    assert (counts[100:] == 1).all()
    np.testing.assert_array_equal(counts, balance(table(intensity), ones, 0.0225, seed=5))
    assert not np.array_equal(counts, balance(table(intensity), ones, 0.0225, seed=6))


@given(
    st.integers(0, 2**32 - 1), st.floats(0, 1), st.lists(st.integers(0, 3), min_size=1, max_size=30)
)
def test_balance_leaves_out_and_adds_but_never_takes_away(seed, share, rows):
    random = np.random.default_rng(seed)
    intensity = random.choice([0.0, 1.0, 4.0, np.nan], (len(rows), 3))
    counts = balance(table(intensity), np.array(rows), share, seed=seed)
    assert (counts >= rows).all()
    np.testing.assert_array_equal(counts == 0, np.array(rows) == 0)
    at_most = np.ceil(np.array(rows) * max(1, np.sqrt(share * max(sum(rows), 1))))
    assert (counts <= at_most).all()
    np.testing.assert_array_equal(balance(table(intensity), np.array(rows), 0, seed=seed), rows)


def test_balance_refuses_a_share_that_is_none():
    with pytest.raises(ValueError, match="`share` must.*Received"):
        balance(table([[1.0]]), np.ones(1, bool), 1.5, seed=0)
