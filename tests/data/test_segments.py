"""From labels to segments between keyframes, and to batches that a network learns from."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfau.configs import TrainConfig
from tfau.core.action_units import AUSet
from tfau.data.augmentation import Augmentation
from tfau.data.pipeline import Labels, PreparedSet
from tfau.data.segments import Segments, find, keyframes
from tfau.models import backbones, networks

AUS = AUSet([12, 25])
NAN = float("nan")


def table(intensity, subject="anna", sequence="one", frame=None):
    """Labels of one recording, or of several whose names are given."""
    intensity = np.asarray(intensity, np.float32)
    count = len(intensity)
    text = np.full(count, "")
    return Labels(
        dataset=np.full(count, "made/1.0.0"),
        split=text,
        subject=np.broadcast_to(subject, count),
        sequence=np.broadcast_to(sequence, count),
        group=text,
        emotion=text,
        frame=np.arange(count) if frame is None else np.asarray(frame),
        intensity=intensity,
        presence=np.full_like(intensity, NAN),
    )


@dataclasses.dataclass
class Films:
    """Stands in for a prepared set: its left half is as bright as AU12, its right half as AU25."""

    labels: Labels
    aus: AUSet = AUS

    def __len__(self):
        return len(self.labels)

    def images(self):
        levels = 40 + 40 * self.labels.intensity  # (N, 2)
        return np.tile(levels.repeat(32, axis=1)[:, None, :, None], (1, 64, 1, 3)).astype("uint8")

    def pictures(self, rows):
        found = [tf.io.encode_jpeg(image, quality=100).numpy() for image in self.images()[rows]]
        return np.array(found, object)


def films(people=4, seconds=2):
    """Both units of every person go up and down, each in its own time."""
    time = np.arange(20 * seconds)
    waves = [
        np.stack([2.5 - 2.5 * np.cos(time * (0.12 + 0.02 * n) + unit) for unit in (0, 2)], axis=1)
        for n in range(people)
    ]
    names = np.repeat([f"person{n}" for n in range(people)], len(time))
    frame = np.tile(time, people)
    return Films(table(np.rint(np.concatenate(waves)), names, "film", frame))


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ([0, 1, 2, 3], [0, 3]),
        ([0, 0, 0, 2, 2, 2, 2, 0], [1, 4, 7]),
        ([2, 1, 1, 0, 3], [0, 3, 4]),
        ([0, 1, 1, 2, 2, 2], [0, 4]),  # a step on the way up is no turn
        ([NAN, 0, NAN, NAN, 4, NAN, 1], [1, 4, 6]),  # keyframes alone are coded
        ([3, 3, 3], []),
        ([NAN, NAN], []),
        ([], []),
    ],
)
def test_keyframes_are_where_curves_turn(curve, expected):
    np.testing.assert_array_equal(keyframes(np.array(curve, float)), expected)


def test_segments_lead_from_the_valley_to_the_peak():
    curves = np.stack([[0, 1, 2, 3, 4, 2, 1, 0, 0], [5, 5, 5, 5, 5, 5, 5, 5, 5]], axis=1)
    frames, unit = find(table(curves), np.ones(9, bool), [1, 0], 3)
    np.testing.assert_array_equal(frames, [[0, 2, 4], [7, 6, 4]])
    np.testing.assert_array_equal(unit, [1, 1])
    four, _ = find(table(curves), np.ones(9, bool), [0], 4)
    np.testing.assert_array_equal(four, [[0, 1, 3, 4], [7, 6, 5, 4]])
    assert find(table(curves), np.ones(9, bool), [0], 5)[0].tolist() == [[0, 1, 2, 3, 4]]
    assert find(table(curves), np.ones(9, bool), [0, 1], 6)[0].shape == (0, 6)


def test_segments_stay_with_one_person_in_time_and_within_the_choice():
    """Two recordings of one name, their frames interleaved and out of order."""
    labels = table(
        np.array([3, 0, 2, 1, 1, 2, 0, 3, 5, 5])[:, None],
        subject=np.array(["anna", "bert"] * 5),
        frame=np.array([3, 0, 2, 1, 1, 2, 0, 3, 9, 9]),
    )
    rows = np.array([1] * 8 + [0] * 2)
    frames, _ = find(labels, rows, [0], 4)
    np.testing.assert_array_equal(frames, [[6, 4, 2, 0], [1, 3, 5, 7]])


def test_pictures_are_those_of_the_rows(make):
    data = PreparedSet(
        make(AUS, 32, {"train": range(4), "test": range(4, 9)}, name="a"),
        make(AUS, 32, {"everyone": range(20, 23)}, name="b"),
    )
    rows = np.arange(12) % 3 == 1
    grey = [tf.io.decode_jpeg(jpeg)[0, 0, 0].numpy() for jpeg in data.pictures(rows)]
    np.testing.assert_array_equal(grey, data.labels.frame[rows])


@pytest.mark.parametrize("augmentation", [None, Augmentation()])
def test_batches_hold_crops_and_their_mixtures(augmentation):
    data, length = films(), 6
    segments = Segments(data, np.ones(len(data), bool), AUSet([25, 12]), length)
    batches = segments.batches(64, 2, augmentation=augmentation, seed=5)
    assert batches.cardinality() == len(segments) // 2
    assert batches.element_spec[0].shape == (24, 64, 64, 3)
    assert batches.element_spec[1]["segments"].shape == (24, 5)
    images, labels = next(batches.as_numpy_iterator())
    again, _ = next(batches.as_numpy_iterator())
    other, _ = next(segments.batches(64, 2, augmentation=augmentation, seed=6).as_numpy_iterator())
    np.testing.assert_array_equal(images, again)
    assert not np.array_equal(images, other)
    for picture, label in zip(
        images.reshape(2, 12, 64, 64, 3), labels["segments"].reshape(2, 12, 5), strict=True
    ):
        known = ~np.isnan(label[:, :2])
        np.testing.assert_array_equal(np.flatnonzero(known.any(axis=1)), [0, 5])
        unit = int(known[0].argmax())
        assert known.sum() == 2
        assert label[5, unit] > label[0, unit]
        assert len(set(label[:, 2])) == len(set(label[6:, 4])) == 1
        np.testing.assert_array_equal(label[:6, 4], 1)
        np.testing.assert_array_equal(np.sort(label[6:, 3]), np.arange(6))
        partner, share = label[6:, 3].astype(int), label[6, 4]
        expected = share * picture[:6] + (1 - share) * picture[partner]
        np.testing.assert_allclose(picture[6:], expected, atol=1e-3)
        if augmentation is None:
            side = picture[[0, 5], 32, 16 if unit == 1 else 48, 0]
            np.testing.assert_allclose(side, 40 + 40 * label[[0, 5], unit], atol=2)


def test_what_cannot_be_learnt_from_is_refused():
    data = films()
    rows = np.ones(len(data), bool)
    with pytest.raises(ValueError, match="`segment` must be at least 3 frames. Received: 2"):
        Segments(data, rows, AUS, 2)
    with pytest.raises(ValueError, match="`segment` must leave something to learn from: .* 40 fr"):
        Segments(data, rows, AUS, 40)
    with pytest.raises(ValueError, match="`batch_size` must be at most .* Received: 999"):
        Segments(data, rows, AUS, 6).batches(64, 999, augmentation=None, seed=0)


def test_an_attention_network_learns_from_keyframes_alone():
    """Frames in between, whose labels it has never seen, of people it has never seen."""
    keras.utils.set_random_seed(0)
    data = films(people=8)
    learnt = data.labels.subject < "person6"
    config = TrainConfig("k", "none", AUS.numbers, 64, network="attention", segment=5)
    networks.check(config.network, config)
    row = networks.row(config)
    model = row.build(backbones.tiny(64), AUS, config)
    model.compile(
        keras.optimizers.Adam(3e-3), loss=row.losses(AUS, config, None), jit_compile=False
    )
    segments = Segments(data, learnt, AUS, config.segment)
    for epoch in range(8):
        batches = segments.batches(64, 4, augmentation=None, seed=epoch)
        labelled = batches.map(
            lambda image, label: (image, {out: label[name] for out, name in row.learns.items()})
        )
        model.fit(labelled, shuffle=False, verbose=0)
    said = model.predict(data.images(), verbose=0)["intensity"]
    truth = data.labels.intensity[~learnt]
    error, constant = np.abs(said[~learnt] - truth).mean(), np.abs(2.5 - truth).mean()
    assert error < constant / 2
