"""Networks and loss: shapes, what they promise, saving and reloading."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from tfau.core.heatmaps import HeatmapCodec
from tfau.models import backbones
from tfau.models.channel_graph import ChannelGraphConv
from tfau.models.heatmap_net import AUHeatmapNet
from tfau.models.losses import HeatmapLoss


def small_net(points=4):
    return AUHeatmapNet(backbones.tiny(64), points, decoder_filters=(16, 8, 8), neighbors=3)


@pytest.mark.parametrize("name", backbones.BACKBONES)
def test_every_backbone_reads_raw_pixels_at_stride_32(name, tmp_path):
    backbone = backbones.BACKBONES[name](64)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), "uint8")
    features = backbone.predict(images, verbose=0)
    assert features.shape[:3] == (2, 2, 2)
    assert np.isfinite(features).all()
    backbone.save(tmp_path / "b.keras")
    again = keras.saving.load_model(tmp_path / "b.keras").predict(images, verbose=0)
    np.testing.assert_array_equal(again, features)


def test_resnet_takes_its_pixels_as_its_weights_know_them():
    backbone = backbones.resnet_v1_50(32)
    images = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype("float32")
    expected = keras.applications.resnet50.preprocess_input(images.copy())
    inner = backbone.get_layer("resnet50")
    np.testing.assert_allclose(
        backbone.predict(images, verbose=0), inner.predict(expected, verbose=0), atol=1e-5
    )


def test_a_network_survives_its_file(tmp_path):
    net = small_net()
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), "uint8")
    maps = net.predict(images, verbose=0)["heatmaps"]
    assert maps.shape == (3, 16, 16, 4)
    net.save(tmp_path / "n.keras")
    again = keras.saving.load_model(tmp_path / "n.keras")
    np.testing.assert_array_equal(again.predict(images, verbose=0)["heatmaps"], maps)
    assert (again.num_points, again.decoder_filters, again.neighbors) == (4, (16, 8, 8), 3)


def test_an_image_has_the_same_maps_in_any_batch():
    net = small_net()
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), "uint8")
    together = net.predict(images, verbose=0)["heatmaps"]
    alone = np.concatenate([net.predict(image[None], verbose=0)["heatmaps"] for image in images])
    np.testing.assert_allclose(alone, together, atol=1e-4)


def test_a_backbone_at_another_stride_is_refused():
    image = keras.Input((64, 64, 3))
    shallow = keras.Model(image, keras.layers.AveragePooling2D(8)(image))
    with pytest.raises(ValueError, match="stride 32. Received"):
        AUHeatmapNet(shallow, 4)


def graph_by_edges(layer: ChannelGraphConv, x: np.ndarray) -> np.ndarray:
    """The layer as the paper writes it: one edge after the other, [x_i, x_j - x_i] joined."""
    batch, height, width, channels = x.shape
    own, other = np.array(layer.own_kernel), np.array(layer.other_kernel)
    # own = Wa - Wb, other = Wb
    joined = np.concatenate([own + other, other])
    gamma, beta, mean, variance = (np.array(weight) for weight in layer.norm.weights)
    out = np.empty_like(x)
    for b, i in itertools.product(range(batch), range(channels)):
        nodes = x[b].reshape(-1, channels).T
        nearest = np.argsort(((nodes - nodes[i]) ** 2).sum(axis=1), kind="stable")
        edges = [
            np.concatenate([nodes[i], nodes[j] - nodes[i]]) @ joined for j in nearest[: layer.k]
        ]
        normed = gamma * (np.array(edges) - mean) / np.sqrt(variance + layer.norm.epsilon) + beta
        out[b, :, :, i] = np.maximum(normed, 0).max(axis=0).reshape(height, width)
    return out


@pytest.mark.parametrize("neighbors", [1, 3, 99])
def test_the_channel_graph_is_the_papers(neighbors):
    rng = np.random.default_rng(0)
    layer = ChannelGraphConv(neighbors)
    x = rng.normal(0, 1, (2, 4, 4, 6)).astype("float32")
    layer(x)
    layer.set_weights([rng.normal(0, 0.3, w.shape) ** 2 for w in layer.get_weights()])
    np.testing.assert_allclose(np.array(layer(x)), graph_by_edges(layer, x), rtol=1e-4, atol=1e-4)


def test_nodes_are_channels():
    """Exchanging two channels exchanges two outputs and changes nothing else."""
    rng = np.random.default_rng(0)
    layer = ChannelGraphConv(3)
    x = rng.normal(0, 1, (1, 4, 4, 5)).astype("float32")
    order = [3, 1, 2, 0, 4]
    np.testing.assert_allclose(
        np.array(layer(x[..., order])), np.array(layer(x))[..., order], atol=1e-5
    )


def test_the_keras_codec_is_the_numpy_codec():
    rng = np.random.default_rng(0)
    codec = HeatmapCodec(128)
    points = rng.uniform([0, 0, 0], [127, 127, 5], (8, 10, 3)).astype("float32")
    points[0, 0, 2], points[0, 1, 2] = np.nan, 0.0
    tensor = ops.convert_to_tensor(points)
    drawn = ops.convert_to_numpy(codec.encode(tensor, ops))
    np.testing.assert_allclose(drawn, codec.encode(points), atol=1e-5)
    maps = codec.encode(np.nan_to_num(points)) + rng.normal(0, 0.1, (8, 32, 32, 10))
    maps = maps.astype("float32")
    read = ops.convert_to_numpy(codec.decode(ops.convert_to_tensor(maps), ops))
    np.testing.assert_allclose(read, codec.decode(maps), atol=1e-4)


def test_the_loss_is_zero_at_the_target_and_blind_to_what_is_not_coded():
    rng = np.random.default_rng(0)
    codec, loss = HeatmapCodec(64), HeatmapLoss(64)
    points = rng.uniform([5, 5, 0], [58, 58, 5], (2, 4, 3)).astype("float32")
    maps = codec.encode(points)
    assert float(loss(points, maps)) == pytest.approx(0, abs=1e-10)
    points[0, 1, 2] = np.nan
    maps[0, ..., 1] = 99.0
    assert float(loss(points, maps)) == pytest.approx(0, abs=1e-10)
    maps[1, ..., 2] += 0.5
    assert float(loss(points, maps)) > 0.01
    points[:] = np.nan
    assert float(loss(points, maps)) == 0


@pytest.mark.parametrize("x", [0.0, 63.0, 67.0, 80.0, 120.0, 500.0])
def test_a_point_outside_the_crop_does_no_harm(x):
    points = np.array([[[x, 30.0, 2.0], [20.0, 20.0, 3.0]]], "float32")
    loss = HeatmapLoss(64)
    drawn = loss.codec.encode(points)
    assert float(loss(points, drawn + 1)) < 10
    if x < 64:  # every point of the crop is read
        assert float(loss(points, drawn)) == pytest.approx(0, abs=1e-9)
        assert float(loss(points, drawn * [1.1, 1])) > 0.01


def test_the_loss_survives_its_config():
    loss = HeatmapLoss(64, sigma=1.5, intensity_weight=0.3)
    again = HeatmapLoss.from_config(loss.get_config())
    assert again.get_config() == loss.get_config()
