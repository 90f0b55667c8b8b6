"""The network that looks at another part of the face for each action unit."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import keras
from keras import layers, ops

from tfau.core.action_units import INTENSITY_MAX
from tfau.core.names import check_name
from tfau.models.backbone_network import BackboneNetwork
from tfau.models.unit_dense import UnitDense

LEVELS = int(INTENSITY_MAX)
HEADS = ("regression", "ordinal")


@keras.saving.register_keras_serializable("tfau")
class OrdinalLevels(layers.Layer):  # type: ignore[misc]
    """Turns a score of each unit into the probabilities that its level is 1, 2, ... 5 or more.

    Every unit has thresholds of its own, which always rise: a level is never more probable than
    the one below it.

    Call arguments:
        inputs: (B, A, 1) scores.

    Returns:
        (B, A, 5) probabilities P(level >= k) for k = 1 to 5. Their sum is the expected level.

    References:
        Cao, Mirjalili and Raschka, "Rank consistent ordinal regression for neural networks with
        application to age estimation", Pattern Recognition Letters 140, 2020,
        https://arxiv.org/abs/1901.07884.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the thresholds, one apart."""
        units = input_shape[1]
        self.lowest = self.add_weight(name="lowest", shape=(units, 1), initializer="zeros")
        one = keras.initializers.Constant(math.log(math.e - 1))  # softplus of it is 1
        self.gaps = self.add_weight(name="gaps", shape=(units, LEVELS - 1), initializer=one)
        super().build(input_shape)

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Runs the layer."""
        above = ops.cumsum(ops.softplus(self.gaps), axis=-1)  # (A, 4)
        thresholds = ops.concatenate([self.lowest, self.lowest + above], axis=-1)  # (A, 5)
        return ops.sigmoid(inputs - thresholds)


@keras.saving.register_keras_serializable("tfau")
class AUAttentionNet(BackboneNetwork):
    """Estimates action unit intensities, each from the part of the face that it attends to.

    For each unit, two branches of two convolutions, a 1x3 and a 3x1 one in either order, weigh
    the places of the feature map. The weighted features are averaged over the face, normalised
    to length 1, and read by two dense layers.

    Args:
        backbone: `keras.Model` from (S, S, 3) RGB in [0, 255] to (H, W, C) features; S static.
        num_aus: Number A of units.
        head: `"regression"`, one number, or `"ordinal"`, the probability of each level or more.
        attention_filters: Filters between the two convolutions of a branch.
        hidden: Width of the first dense layer.
        features: Also answer the features that the dense layers read.
        **kwargs: Passed to `keras.Model`, e.g. `name`.

    Call arguments:
        inputs: (B, S, S, 3) RGB in [0, 255].

    Returns:
        `{"intensity": (B, A)}` in units of 0-5. With regression it is not clipped, and 5 times what
        the last dense layer says, since the published network says 0 to 1. The ordinal head also
        answers `"levels"`, (B, A, 5) probabilities of level 1 to 5 or more, and its intensity is
        their sum, the expected level. With features also `"features"`, (B, A, C) of length 1.

    Example:
        >>> import numpy as np
        >>> from tfau.models import backbones
        >>> net = AUAttentionNet(backbones.tiny(64), 12, attention_filters=8)
        >>> net.predict(np.zeros((2, 64, 64, 3), "uint8"), verbose=0)["intensity"].shape
        (2, 12)

    References:
        Chen et al., "Trend-Aware Supervision: On Learning Invariance for Semi-Supervised Facial
        Action Unit Intensity Estimation", AAAI 2024,
        https://github.com/chen-yingjie/Trend_Aware_Supervision: there with a ResNet-34, S = 256,
        on DISFA (12 units) and BP4D (5). As there, the branches end in a ReLU, so that nothing is
        weighed less than half.
    """

    ARGUMENTS: ClassVar[tuple[str, ...]] = (
        "num_aus",
        "head",
        "attention_filters",
        "hidden",
        "features",
    )

    def __init__(
        self,
        backbone: keras.Model,
        num_aus: int,
        head: str = "regression",
        attention_filters: int = 256,
        hidden: int = 64,
        features: bool = False,
        **kwargs: Any,
    ) -> None:
        check_name("intensity head", head, HEADS)

        # === Functional Model ===
        image = keras.Input(backbone.input_shape[1:], name="image")
        maps = backbone(image)
        _, height, width, channels = maps.shape
        across, down = (1, 3), (3, 1)
        branches = [
            _branch(maps, num_aus, attention_filters, kernels, f"attention_{name}")
            for name, kernels in (("across", (across, down)), ("down", (down, across)))
        ]
        weights = layers.Activation("sigmoid", name="attention")(layers.Add()(branches))
        weights = layers.Reshape((height * width, num_aus))(weights)
        places = layers.Reshape((height * width, channels))(maps)
        # The mean over the face of features times weights, without ever making A copies of them.
        pooled = ops.matmul(ops.transpose(weights, (0, 2, 1)), places) / (height * width)
        seen = layers.UnitNormalization(axis=-1, name="length")(pooled)  # (B, A, C)
        x = UnitDense(num_aus, hidden, name="hidden")(seen)
        x = layers.LeakyReLU(0.01, name="hidden_relu")(x)
        x = UnitDense(num_aus, 1, dtype="float32", name="score")(x)
        if head == "regression":
            flat = layers.Reshape((num_aus,))(x)
            outputs = {"intensity": layers.Rescaling(INTENSITY_MAX, name="intensity")(flat)}
        else:
            levels = OrdinalLevels(dtype="float32", name="levels")(x)
            outputs = {"intensity": ops.sum(levels, axis=-1), "levels": levels}
        if features:
            outputs["features"] = layers.Activation("linear", dtype="float32", name="features")(
                seen
            )
        super().__init__(inputs=image, outputs=outputs, **kwargs)

        # === Config ===
        self.backbone = backbone
        self.num_aus = num_aus
        self.head = head
        self.attention_filters = attention_filters
        self.hidden = hidden
        self.features = features


def _branch(
    x: keras.KerasTensor,
    units: int,
    filters: int,
    kernels: tuple[tuple[int, int], tuple[int, int]],
    name: str,
) -> keras.KerasTensor:
    """Convolves twice, for every unit with kernels of its own: (B, H, W, A)."""
    _, height, width, _ = x.shape
    first, second = kernels
    x = layers.Conv2D(units * filters, first, padding="same", use_bias=False, name=f"{name}1")(x)
    x = layers.BatchNormalization(name=f"{name}1_bn")(x)
    x = layers.ReLU(name=f"{name}1_relu")(x)
    # A convolution that sees the filters of its own unit only; grouped ones have no gradient on
    # every device.
    x = layers.DepthwiseConv2D(second, padding="same", use_bias=False, name=f"{name}2")(x)
    x = ops.sum(layers.Reshape((height, width, units, filters))(x), axis=-1)
    x = layers.BatchNormalization(name=f"{name}2_bn")(x)
    return layers.ReLU(name=f"{name}2_relu")(x)
