"""Losses of keyframe segments: what they reward, what they forgive, what they never look at."""

import keras
import numpy as np
import pytest
from keras import ops

from tfau.configs import TrainConfig
from tfau.core.action_units import AUSet
from tfau.models import backbones, networks
from tfau.models.attention_net import AUAttentionNet
from tfau.models.keyframes import KeyframeLoss, TrendLoss

NAN = float("nan")


def labels(ends, unit=0, units=2, frames=4, person=0.0, share=0.25):
    """One segment, of which every crop is mixed with the next: (1, 2F, A + 3)."""
    label = np.full((1, 2 * frames, units + 3), NAN, "float32")
    label[0, 0, unit], label[0, frames - 1, unit] = ends
    label[..., -3] = person
    label[0, :, -2] = [*range(frames), *np.roll(range(frames), -1)]
    label[0, :, -1] = [1] * frames + [share] * frames
    return label


def loss_of(loss, label, said):
    """Asks a loss about segments (n, 2F, ...)."""
    label, said = (np.asarray(each, "float32") for each in (label, said))
    flat = (values.reshape(-1, *values.shape[2:]) for values in (label, said))
    return float(loss(*map(ops.convert_to_tensor, flat)))


def path(angles, units=2):
    """Features on the unit circle, the same for every unit, followed by those of mixtures."""
    angles = np.radians([*angles, *np.random.default_rng(0).uniform(0, 360, len(angles))])
    feature = np.stack([np.cos(angles), np.sin(angles)], axis=-1)  # (2F, C)
    return feature[None, :, None].repeat(units, axis=2)


def test_keyframes_count_for_the_unit_of_their_segment_alone():
    loss = KeyframeLoss(4, vicinal_weight=0)
    label, said = labels((1, 4)), np.zeros((1, 8, 2))
    said[0, [0, 3], 0] = 2, 4
    assert loss_of(loss, label, said) == pytest.approx(((1 / 5) ** 2 + 0) / 2)
    said[0, 1:3], said[0, 4:], said[0, :, 1] = 9, 9, 9  # in between, mixed, another unit
    assert loss_of(loss, label, said) == pytest.approx((1 / 5) ** 2 / 2)
    double = KeyframeLoss(4, vicinal_weight=0, weights=[2, 1])
    assert loss_of(double, label, said) == pytest.approx(2 * (1 / 5) ** 2 / 2)


def test_answers_on_mixtures_should_be_mixtures_of_answers():
    loss = KeyframeLoss(4, vicinal_weight=1)
    plain = np.stack([[1, 2, 2.5, 4], [0, 5, 1, 1]], axis=1)
    mixed = 0.25 * plain + 0.75 * np.roll(plain, -1, axis=0)
    label, said = labels((1, 4)), np.concatenate([plain, mixed])[None]
    assert loss_of(loss, label, said) == pytest.approx(0, abs=1e-12)
    said[0, 6, 1] += 2
    assert loss_of(loss, label, said) == pytest.approx((2 / 5) ** 2 / 8)


@pytest.mark.parametrize(
    ("angles", "expected"),
    [
        ((0, 10, 50, 90), 0),
        ((0, 0, 30, 30), 0),
        ((40, 10, -30, -60), 0),  # whichever way it goes
        ((0, 60, 0, 90), 1 / 4),  # from a squared distance of 1 back to 0
        ((0, 90, 60, 60), 1 / 4),
    ],
)
def test_the_way_from_the_valley_must_not_lead_back(angles, expected):
    loss = TrendLoss(4, trend_weight=1, subject_weight=0)
    assert loss_of(loss, labels((0, 3)), path(angles)) == pytest.approx(expected, abs=1e-6)


def test_the_trend_of_other_units_does_not_count():
    loss = TrendLoss(4, trend_weight=1, subject_weight=0)
    feature = path((0, 10, 20, 30))
    feature[0, :4, 1] = path((0, 60, 0, 90))[0, :4, 1]
    assert loss_of(loss, labels((0, 3), unit=0), feature) == pytest.approx(0, abs=1e-6)
    assert loss_of(loss, labels((0, 3), unit=1), feature) == pytest.approx(1 / 4)


def test_people_should_look_alike_at_the_same_level_of_the_same_unit():
    """The valleys are 60 degrees apart, the peaks 90; only what is of one level is compared."""
    loss = TrendLoss(4, trend_weight=0, subject_weight=1)
    said = np.concatenate([path((0, 10, 20, 30)), path((60, 80, 100, 120))])

    def spread(first, second):
        return loss_of(loss, np.concatenate([first, second]), said)

    anna = labels((1, 3))
    assert spread(anna, labels((1, 3), person=1)) == pytest.approx((0.5 + 1) / 2, abs=1e-6)
    assert spread(anna, labels((1.2, 4), person=1)) == pytest.approx(0.5, abs=1e-6)
    assert spread(anna, labels((1, 3), person=0)) == 0
    assert spread(anna, labels((1, 3), unit=1, person=1)) == 0
    assert spread(anna, labels((0, 5), person=1)) == 0


def test_labels_that_are_not_known_leave_every_weight_a_number():
    """Trains on a batch that knows keyframes, and on one that knows nothing."""
    config = TrainConfig("k", "none", (12, 25), 64, network="attention", segment=4)
    row = networks.row(config)
    model = row.build(backbones.tiny(64), AUSet(config.aus), config)
    weights = np.array([0.5, 1.5])
    losses = row.losses(AUSet(config.aus), config, weights)
    model.compile(keras.optimizers.SGD(1e-3), loss=losses, jit_compile=False)
    images = np.random.default_rng(0).uniform(0, 255, (16, 64, 64, 3)).astype("float32")
    known = np.concatenate([labels((0, 3)), labels((1, 2), unit=1, person=1)]).reshape(16, 5)
    nothing = known.copy()
    nothing[:, :2] = NAN
    before = model.predict(images, verbose=0)["intensity"]
    for label in (known, nothing):
        history = model.fit(images, dict.fromkeys(losses, label), 16, verbose=0, shuffle=False)
        assert np.isfinite(history.history["loss"]).all()
    after = model.predict(images, verbose=0)["intensity"]
    assert np.isfinite(after).all()
    assert not np.array_equal(after, before)


@pytest.mark.parametrize("loss", [KeyframeLoss(4, 0.1, [1, 2]), TrendLoss(4, 0.3, 0.2)])
def test_losses_are_rebuilt_from_their_config(loss):
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    said = path((0, 60, 0, 90)) if isinstance(loss, TrendLoss) else np.ones((1, 8, 2))
    assert loss_of(again, labels((0, 3)), said) == loss_of(loss, labels((0, 3)), said) > 0


def test_features_are_an_answer_only_where_asked(tmp_path):
    def build(**options):
        keras.utils.set_random_seed(0)
        return AUAttentionNet(backbones.tiny(64), 3, attention_filters=8, hidden=8, **options)

    plain, telling = build(), build(features=True)
    assert telling.count_params() == plain.count_params()
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    said, told = plain.predict(images, verbose=0), telling.predict(images, verbose=0)
    assert told.keys() - said.keys() == {"features"}
    np.testing.assert_array_equal(told["intensity"], said["intensity"])
    np.testing.assert_allclose(np.linalg.norm(told["features"], axis=-1), 1, rtol=1e-5)
    telling.save(tmp_path / "n.keras")
    again = keras.saving.load_model(tmp_path / "n.keras").predict(images, verbose=0)
    np.testing.assert_array_equal(again["features"], told["features"])


@pytest.mark.parametrize(
    ("network", "segment"), [("attention", 2), ("attention", -1), ("heatmap", 18)]
)
def test_segments_are_for_the_attention_network(network, segment):
    config = TrainConfig("k", "none", (12,), 64, network=network, segment=segment)
    with pytest.raises(ValueError, match=f"`segment` must be .* Received: {segment} with"):
        networks.check(config.network, config)
    plain = TrainConfig("k", "none", (12,), 64, network=network)
    networks.check(network, plain)
    assert networks.row(plain) is networks.NETWORKS[network]
