"""Learning to be right in 8 bits."""

import keras
import numpy as np
import pytest

from tfau.models import backbones
from tfau.models.heatmap_net import AUHeatmapNet
from tfau.models.losses import HeatmapLoss
from tfau.models.quantization import (
    EightBitActivation,
    EightBitKernels,
    QuantizationAware,
    learnt,
)

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (8, 64, 64, 3)).astype("float32")
POINTS = RANDOM.uniform(0, 64, (8, 6, 3)).astype("float32") * [1, 1, 1 / 13]


@pytest.fixture
def network():
    keras.utils.set_random_seed(0)
    return AUHeatmapNet(backbones.tiny(64), 6, (16, 12, 12), graph_levels=(2,))


def compiled(network):
    model = QuantizationAware(network)
    model.compile(keras.optimizers.AdamW(1e-3), {"heatmaps": HeatmapLoss(64)}, jit_compile=False)
    return model


def step(model):
    """Learns a batch; returns the loss."""
    return float(np.ravel(model.train_on_batch(IMAGES, {"heatmaps": POINTS}))[0])


def answer(model):
    return model.predict(IMAGES, verbose=0)["heatmaps"]


def rounded(values, **options):
    layer = EightBitActivation()
    return np.asarray(layer(np.asarray(values, "float32"), **options)), layer


@pytest.mark.parametrize(("low", "high"), [(-3.0, 5.0), (0.0, 6.0), (2.0, 7.0), (-4.0, -1.0)])
def test_activations_take_256_values_and_0_is_one(low, high):
    values = np.append(RANDOM.uniform(low, high, 9999), 0.0)
    after, layer = rounded(values, training=True)
    assert len(np.unique(after)) <= 256
    assert after[-1] == 0
    step = (max(high, 0) - min(low, 0)) / 255
    assert np.abs(after - values).max() <= 0.51 * step * 2  # the ends move to make room for 0
    assert np.median(np.abs(after - values)) <= step / 3
    # Later, what is beyond the range is cut off.
    beyond = np.asarray(layer(np.float32([-100, 100])))
    assert np.abs(beyond - [min(low, 0), max(high, 0)]).max() <= step


def test_a_range_widens_at_once_and_shrinks_slowly():
    _, layer = rounded([-1.0, 1.0], training=True)
    layer(np.float32([-3.0, 2.0]), training=True)
    assert (float(layer.low), float(layer.high)) == (-3.0, 2.0)
    layer(np.float32([0.0, 0.0]), training=True)
    assert -3.0 < float(layer.low) < -2.8
    before = float(layer.low), float(layer.high)
    layer(np.float32([-9.0, 9.0]))
    assert (float(layer.low), float(layer.high)) == before


@pytest.mark.parametrize(
    ("layer", "channels"),
    [
        (keras.layers.Conv2D(5, 3), (3,)),
        (keras.layers.Conv2DTranspose(5, 4), (2,)),
        (keras.layers.DepthwiseConv2D(3), (2, 3)),
        (keras.layers.Dense(5), (1,)),
    ],
)
def test_kernels_take_255_values_for_each_output_channel(layer, channels):
    layer.build((None, 8, 8, 4) if "conv" in layer.name else (None, 4))
    kernel = layer.weights[0]
    kernel.assign(RANDOM.normal(size=kernel.shape) * np.geomspace(0.01, 10, kernel.shape[-1]))
    wrapper = EightBitKernels(layer, {})
    exact, after = np.asarray(kernel), np.asarray(wrapper._value(kernel))
    others = tuple(axis for axis in range(exact.ndim) if axis not in channels)
    step = np.abs(exact).max(axis=others, keepdims=True) / 127
    np.testing.assert_allclose(after / step, np.round(after / step), atol=1e-3)
    assert (np.abs(after - exact) <= 0.51 * step).all()
    inputs = RANDOM.normal(size=(2, 8, 8, 4) if "conv" in layer.name else (2, 4)).astype("f4")
    found = np.asarray(wrapper(inputs))
    kernel.assign(after)
    np.testing.assert_allclose(found, np.asarray(layer(inputs)), rtol=1e-5, atol=1e-5)


def test_what_is_learnt_is_learnt_by_the_network(network):
    model = compiled(network)
    assert learnt(model) is network
    assert learnt(network) is network
    assert len(model.trainable_variables) == len(network.trainable_variables)
    before = [np.asarray(weight).copy() for weight in network.weights]
    first = step(model)
    trainable = {id(variable) for variable in network.trainable_variables}
    for weight, values in zip(network.weights, before, strict=True):
        moved = not np.array_equal(np.asarray(weight), values)
        # Batch normalisation keeps its statistics.
        assert moved == (id(weight) in trainable), weight.path
    assert [step(model) for _ in range(12)][-1] < first


def test_answers_are_near_those_of_the_network_and_rounded(network):
    model = compiled(network)
    for _ in range(2):
        model.train_on_batch(IMAGES, {"heatmaps": POINTS})
    exact, after = np.asarray(network(IMAGES, training=False)["heatmaps"]), answer(model)
    assert len(np.unique(after)) <= 256 < len(np.unique(exact))
    assert np.corrcoef(exact.ravel(), after.ravel())[0, 1] > 0.8


def test_a_saved_one_goes_on_as_if_nothing_had_been(network, tmp_path):
    model = compiled(network)
    model.train_on_batch(IMAGES, {"heatmaps": POINTS})
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(answer(loaded), answer(model))
    for one in (model, loaded):
        one.train_on_batch(IMAGES, {"heatmaps": POINTS})
    for ours, theirs in zip(learnt(loaded).weights, network.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
