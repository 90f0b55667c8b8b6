"""Networks and losses: shapes, what they promise, training, saving and reloading."""

import dataclasses
import itertools
import math

import keras
import numpy as np
import pytest
from keras import ops

from tfau.configs import TrainConfig
from tfau.core.action_units import AUSet
from tfau.core.heatmaps import HeatmapCodec
from tfau.models import backbones, networks, presence_net
from tfau.models.attention_net import AUAttentionNet, OrdinalLevels
from tfau.models.channel_graph import ChannelGraphConv
from tfau.models.emotion_net import EMOTIONS, AUEmotionNet
from tfau.models.heatmap_net import AUHeatmapNet
from tfau.models.losses import (
    EmotionLoss,
    HeatmapLoss,
    IntensityLoss,
    LevelsLoss,
    PresenceLoss,
)
from tfau.models.networks import NETWORKS
from tfau.models.presence_net import AUPresenceNet
from tfau.models.unit_dense import UnitDense

AUS = AUSet([12, 17, 25])
CONFIG = TrainConfig("battery", "none", AUS.numbers, 64, decoder_filters=(16, 8, 8), neighbors=3)


def small_net(points=4):
    return AUHeatmapNet(backbones.tiny(64), points, decoder_filters=(16, 8, 8), neighbors=3)


def test_decoder_levels_have_graphs_where_asked():
    def graphs(levels):
        net = AUHeatmapNet(backbones.tiny(32), 2, (8, 4, 4), graph_levels=levels)
        return [layer.name for layer in net.layers if isinstance(layer, ChannelGraphConv)]

    assert graphs(()) == []
    assert graphs((3, 1)) == ["decoder1_graph", "decoder3_graph"]
    with pytest.raises(ValueError, match=r"`graph_levels` must lie in 1 to 3. Received: \(0, 4\)"):
        graphs((0, 4))


def millions(model):
    """Trainable parameters: as PyTorch counts, without the statistics of normalisation."""
    return round(sum(math.prod(w.shape) for w in model.trainable_weights) / 1e6, 1)


def test_heatmap_networks_are_as_large_as_published():
    backbone = backbones.resnet_v1_50(256)
    plain = AUHeatmapNet(backbone, 10, decoder_filters=(256, 256, 256), graph_levels=())
    assert millions(plain) == 34.0
    # Statistics and the biases of Keras' ResNet included; 24 maps as for DISFA.
    assert AUHeatmapNet(backbone, 24).count_params() == 68_439_192


@pytest.mark.parametrize(("units", "expected"), [(12, 31.1), (5, 25.4)])
def test_attention_networks_are_as_large_as_published(units, expected):
    assert millions(AUAttentionNet(backbones.BACKBONES["resnet34"](256), units)) == expected


def test_emotion_networks_are_as_large_as_published():
    """The published 4,063,658 and 4,081,592 hold 7 numbers of Keras' own normalisation."""
    backbone = backbones.BACKBONES["efficientnet_b0"](64)
    own = 4_049_571 - backbone.count_params()
    assert own in {0, 7}  # ours may stand outside of the variables
    assert AUEmotionNet(backbone).count_params() == 4_063_658 - own
    assert AUEmotionNet(backbone, 14).count_params() == 4_081_592 - own


def test_presence_heads_are_as_large_as_published():
    features = keras.Input((6, 6, 256))  # of AlexNet
    backbone = keras.Model(features, features)
    for head, (inner, outer) in {
        "alexnet_code": (1024, 128),
        "alexnet_table": (256, 0),
    }.items():
        expected = 9216 * inner + inner + ((inner * outer + outer) if outer else 0)
        expected += (outer or inner) + 1
        assert AUPresenceNet(backbone, 1, head).count_params() == expected
    # 17 of them were published, some 163 M in all
    assert 17 * AUPresenceNet(backbone, 1, "alexnet_code").count_params() // 10**6 == 162


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


def kernels(layer: ChannelGraphConv, area: int) -> tuple[np.ndarray, np.ndarray]:
    """What a node gives to its own edges, Wa - Wb, and to its neighbours', Wb: (HW, HW) both."""
    if layer.rank is None:
        return np.array(layer.own_kernel), np.array(layer.other_kernel)
    product = np.array(layer.down) @ np.array(layer.up)
    return np.eye(area) + product[:, :area], product[:, area:]


def graph_by_edges(layer: ChannelGraphConv, x: np.ndarray) -> np.ndarray:
    """The layer as the paper writes it: one edge after the other, [x_i, x_j - x_i] joined."""
    batch, height, width, channels = x.shape
    own, other = kernels(layer, height * width)
    joined = np.concatenate([own + other, other])
    gamma, beta, mean, variance = (np.array(weight) for weight in layer.norm.weights)
    out = np.empty_like(x)
    for b, i in itertools.product(range(batch), range(channels)):
        if layer.node_layout == "channels":
            nodes = x[b].reshape(-1, channels).T
        else:  # the memory of the array, cut into as many pieces as there are channels
            nodes = x[b].reshape(channels, -1)
        nearest = np.argsort(((nodes - nodes[i]) ** 2).sum(axis=1), kind="stable")
        edges = [
            np.concatenate([nodes[i], nodes[j] - nodes[i]]) @ joined for j in nearest[: layer.k]
        ]
        normed = gamma * (np.array(edges) - mean) / np.sqrt(variance + layer.norm.epsilon) + beta
        node = np.maximum(normed, 0).max(axis=0)
        if layer.node_layout == "channels":
            out[b, :, :, i] = node.reshape(height, width)
        else:
            out[b].reshape(channels, -1)[i] = node
    return out


@pytest.mark.parametrize("rank", [None, 3])
@pytest.mark.parametrize("node_layout", ["channels", "released"])
@pytest.mark.parametrize("neighbors", [1, 3, 99])
def test_the_channel_graph_is_the_papers(neighbors, node_layout, rank):
    rng = np.random.default_rng(0)
    layer = ChannelGraphConv(neighbors, rank, node_layout)
    x = rng.normal(0, 1, (2, 4, 4, 8)).astype("float32")
    layer(x)
    layer.set_weights([rng.normal(0, 0.3, w.shape) ** 2 for w in layer.get_weights()])
    expected = graph_by_edges(layer, x)
    assert expected.std() > 0.1
    np.testing.assert_allclose(np.array(layer(x)), expected, rtol=1e-5, atol=1e-5)


def test_the_released_layout_wants_whole_pixels():
    with pytest.raises(ValueError, match="divide height times width. Received"):
        ChannelGraphConv(node_layout="released")(np.zeros((1, 4, 4, 6), "float32"))
    with pytest.raises(ValueError, match="no node layout 'channel'. Nearest: channels"):
        ChannelGraphConv(node_layout="channel")
    with pytest.raises(ValueError, match="`rank` must be at least 1"):
        ChannelGraphConv(rank=0)


@pytest.mark.parametrize("rank", [None, 2])
def test_a_new_graph_passes_its_channels_on(rank):
    x = np.random.default_rng(0).uniform(0, 1, (1, 4, 4, 5)).astype("float32")
    layer = ChannelGraphConv(3, rank)
    np.testing.assert_allclose(np.array(layer(x)), x, rtol=1e-3)


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


class _Backbone:
    """Gives the same features whatever the crop, so that heads can be looked at alone."""

    def __new__(cls, features):
        image = keras.Input((32, 32, 3))
        x = keras.layers.Flatten()(image)
        start = keras.initializers.Constant(features.ravel())
        x = keras.layers.Dense(
            features.size, kernel_initializer="zeros", bias_initializer=start, name="constant"
        )(x)
        return keras.Model(image, keras.layers.Reshape(features.shape)(x))


def test_every_unit_has_a_dense_layer_of_its_own():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (2, 3, 5)).astype("float32")
    layer = UnitDense(3, 4)
    layer(x)
    layer.set_weights([rng.normal(0, 1, w.shape) for w in layer.get_weights()])
    kernel, bias = (np.array(w) for w in layer.weights)
    expected = np.stack([x[:, a] @ kernel[a] + bias[a] for a in range(3)], axis=1)
    np.testing.assert_allclose(np.array(layer(x)), expected, atol=1e-5)
    shared = UnitDense(3, 4)
    shared(x[:, 0])
    shared.set_weights(layer.get_weights())
    same = np.repeat(x[:, :1], 3, axis=1)
    np.testing.assert_allclose(np.array(shared(x[:, 0])), np.array(layer(same)), atol=1e-5)
    with pytest.raises(ValueError, match=r"\(B, 3, F\). Received"):
        UnitDense(3, 4)(np.zeros((2, 4, 5), "float32"))


def conv(x, kernel):
    """A convolution as its definition says: (H, W, I) and (h, w, I, O), zeros around."""
    height, width = kernel.shape[:2]
    padded = np.pad(x, ((height // 2,) * 2, (width // 2,) * 2, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(0, 1))
    return np.einsum("xyihw,hwio->xyo", windows, kernel)


def test_attention_is_the_published_one():
    """Written out unit by unit, with weighted copies of the features."""
    rng = np.random.default_rng(0)
    features = rng.uniform(0, 1, (4, 5, 6)).astype("float32")
    net = AUAttentionNet(_Backbone(features), 2, attention_filters=3, hidden=4)
    for layer in net.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1, w.shape) for w in layer.get_weights()])

    def weights(name):
        return [np.array(w) for w in net.get_layer(name).weights]

    def normed(x, name, part):
        gamma, beta, mean, variance = (w[part] for w in weights(name))
        epsilon = net.get_layer(name).epsilon
        return np.maximum(gamma * (x - mean) / np.sqrt(variance + epsilon) + beta, 0)

    expected = []
    for a in range(2):
        mine, total = slice(3 * a, 3 * a + 3), 0
        for branch in ("attention_across", "attention_down"):
            x = conv(features, weights(f"{branch}1")[0][..., mine])
            x = normed(x, f"{branch}1_bn", mine)
            x = conv(x, weights(f"{branch}2")[0][:, :, mine])
            total += normed(x, f"{branch}2_bn", slice(a, a + 1))
        pooled = (features / (1 + np.exp(-total))).mean(axis=(0, 1))
        pooled /= np.sqrt((pooled**2).sum())
        kernel, bias = weights("hidden")
        x = pooled @ kernel[a] + bias[a]
        kernel, bias = weights("score")
        expected.append(5 * (np.where(x > 0, x, 0.01 * x) @ kernel[a] + bias[a])[0])
    said = net.predict(np.zeros((1, 32, 32, 3)), verbose=0)["intensity"][0]
    np.testing.assert_allclose(said, expected, atol=1e-5)


def test_a_higher_level_is_never_more_probable():
    rng = np.random.default_rng(0)
    layer = OrdinalLevels()
    scores = rng.normal(0, 3, (7, 3, 1)).astype("float32")
    layer(scores)
    layer.set_weights([rng.normal(0, 2, w.shape) for w in layer.get_weights()])
    levels = np.array(layer(scores))
    assert levels.shape == (7, 3, 5)
    assert (np.diff(levels, axis=-1) < 0).all()


def test_the_ordinal_head_answers_the_expected_level():
    net = AUAttentionNet(backbones.tiny(64), 3, head="ordinal", attention_filters=4)
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), "uint8")
    answer = net.predict(images, verbose=0)
    np.testing.assert_allclose(answer["intensity"], answer["levels"].sum(axis=-1), atol=1e-6)


def test_emotions_add_up_to_one():
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), "uint8")
    alone = AUEmotionNet(backbones.tiny(64)).predict(images, verbose=0)
    assert set(alone) == {"emotion"}
    assert alone["emotion"].shape == (3, len(EMOTIONS))
    np.testing.assert_allclose(alone["emotion"].sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("head", presence_net.HEADS)
def test_every_presence_head_answers_probabilities(head):
    net = AUPresenceNet(backbones.tiny(32), 3, head)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), "uint8")
    said = net.predict(images, verbose=0)["presence"]
    assert said.shape == (3, 3)
    assert ((said > 0) & (said < 1)).all()
    assert said.std(axis=1).min() > 0  # the units differ


def compiled(name, optimizer, **options):
    keras.utils.set_random_seed(0)
    row, config = NETWORKS[name], dataclasses.replace(CONFIG, **options)
    model = row.build(backbones.tiny(64), AUS, config)
    model.compile(optimizer, loss=row.losses(AUS, config, None), jit_compile=False)
    return model


def fit(model, name, images, labels):
    truth = {output: labels[label] for output, label in NETWORKS[name].learns.items()}
    return model.fit(images, truth, len(images), verbose=0).history["loss"]


def test_options_reach_the_heatmap_network():
    config = dataclasses.replace(CONFIG, graph_levels=(2, 3), graph_rank=2, node_layout="released")
    net = NETWORKS["heatmap"].build(backbones.tiny(64), AUS, config)
    assert (net.graph_levels, net.graph_rank, net.node_layout) == ((2, 3), 2, "released")
    graph = AUHeatmapNet.from_config(net.get_config()).get_layer("decoder3_graph")
    assert (graph.rank, graph.node_layout, graph.neighbors) == (2, "released", 3)
    assert graph.down.shape == (256, 2)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_not_coded_teaches_nothing(name, examples):
    images, labels = examples
    model = compiled(name, keras.optimizers.SGD(1.0))
    before = [np.array(w) for w in model.trainable_weights]
    nothing = {label: np.full_like(values, np.nan) for label, values in labels.items()}
    assert fit(model, name, images, nothing) == [0]
    for ours, theirs in zip(model.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(np.array(ours), theirs)
    fit(model, name, images, labels)
    after = [np.array(w) for w in model.trainable_weights]
    assert any((ours != theirs).any() for ours, theirs in zip(after, before, strict=True))
    assert all(np.isfinite(values).all() for values in after)


def test_a_frozen_backbone_stays_as_it_is(examples):
    images, labels = examples
    model = compiled("presence", keras.optimizers.SGD(0.1), freeze_backbone=True)
    before = [np.array(w) for w in model.backbone.weights]
    head = np.array(model.get_layer("score").kernel)
    fit(model, "presence", images, labels)
    for ours, theirs in zip(model.backbone.weights, before, strict=True):
        np.testing.assert_array_equal(np.array(ours), theirs)
    assert (np.array(model.get_layer("score").kernel) != head).any()
    again = AUPresenceNet.from_config(model.get_config())
    assert len(again.trainable_weights) == len(model.trainable_weights)


def test_losses_are_means_over_what_is_coded():
    points = np.array([[[0, 0, 4], [0, 0, 2], [0, 0, np.nan], [0, 0, 1], [0, 0, np.nan]]])
    loss = IntensityLoss([0, 0, 1, 1, 2])  # truth: 3, 1, not coded
    assert float(loss(points, np.array([[1.0, 1.0, 9.0]]))) == pytest.approx(4 / 2)
    said = np.array([[[0.9, 0.8, 0.5, 0.1, 0.1], [0.5] * 5, [0.1] * 5]])
    expected = -np.log([0.9, 0.8, 0.5, 0.9, 0.9]).sum() - np.log([0.5] * 5).sum()
    loss = LevelsLoss([0, 0, 1, 1, 2])
    assert float(loss(points, said)) == pytest.approx(expected / 2, rel=1e-5)
    half = np.array([[[0, 0, 1.5]]])  # level 2 or more with probability 1/2
    said = np.array([[[1.0, 0.5, 0.0, 0.0, 0.0]]])
    assert float(LevelsLoss([0])(half, said)) == pytest.approx(np.log(2), rel=1e-4)
    presence, said = np.array([[1.0, 0.0, np.nan]]), np.array([[0.8, 0.4, 0.1]])
    expected = -np.log([0.8, 0.6]).mean()
    assert float(PresenceLoss()(presence, said)) == pytest.approx(expected, rel=1e-5)
    emotion = np.array([[0.0, 1.0], [np.nan, np.nan]])
    said = np.array([[0.25, 0.75], [0.5, 0.5]])
    assert float(EmotionLoss()(emotion, said)) == pytest.approx(-np.log(0.75) / 2, rel=1e-5)


def test_points_are_pooled_as_the_units_pool_them():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 5, (20, len(AUS.point_names), 3)).astype("float32")
    points[rng.random(points.shape[:2]) < 0.4, 2] = np.nan
    pooled, coded = IntensityLoss(AUS.point_owner).pool(ops.convert_to_tensor(points))
    expected = AUS.pool(points[..., 2])
    np.testing.assert_array_equal(ops.convert_to_numpy(coded), ~np.isnan(expected))
    np.testing.assert_allclose(ops.convert_to_numpy(pooled), np.nan_to_num(expected), rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "heatmaps"}, "no network 'heatmaps'. Nearest: heatmap."),
        ({"node_layout": "release"}, "no node layout 'release'. Nearest: released."),
        ({"presence_head": "vgg"}, "no presence head 'vgg'. Nearest: vgg_"),
    ],
)
def test_an_unknown_name_is_told_its_neighbours(options, message):
    config = dataclasses.replace(CONFIG, **options)
    with pytest.raises(ValueError, match=message):
        networks.check(config.network, config)
    with pytest.raises(ValueError, match="no intensity head 'ordinals'. Nearest: ordinal"):
        AUAttentionNet(backbones.tiny(32), 2, head="ordinals")
