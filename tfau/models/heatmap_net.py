"""The network that draws action units on a face."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from tfau.models.backbones import STRIDE
from tfau.models.channel_graph import ChannelGraphConv


@keras.saving.register_keras_serializable("tfau")
class AUHeatmapNet(keras.Model):  # type: ignore[misc]
    """Estimates action unit intensities as one heatmap per AU point.

    A backbone reads an aligned face crop at stride 32. Three decoder levels bring its features back
    to stride 4: each doubles the resolution by a transposed convolution, then lets its channels
    exchange evidence on a graph rebuilt for every image (`ChannelGraphConv`). A 1x1 convolution
    draws a map per point: a bump as high as the unit is intense, 0 to 5.

    The network knows points, not units: `AUSet` names them, `HeatmapCodec` reads the maps.

    Args:
        backbone: `keras.Model` from (S, S, 3) RGB in [0, 255] to (S / 32, S / 32, C) features; S
            static.
        num_points: Number P of maps, `len(aus.point_names)`.
        decoder_filters: Channels of the three decoder levels, coarse to fine.
        neighbors: Edges per channel node, the node itself included.
        **kwargs: Passed to `keras.Model`, e.g. `name`.

    Call arguments:
        inputs: (B, S, S, 3) RGB in [0, 255].

    Returns:
        `{"heatmaps": (B, S / 4, S / 4, P)}` in intensity units, not clipped.

    Raises:
        ValueError: If the backbone is not static, square and at stride 32.

    Example:
        >>> import numpy as np
        >>> from tfau.models import backbones
        >>> net = AUHeatmapNet(backbones.tiny(64), 10, decoder_filters=(16, 8, 8))
        >>> net.predict(np.zeros((2, 64, 64, 3), "uint8"), verbose=0)["heatmaps"].shape
        (2, 16, 16, 10)

    References:
        Fan, Lam and Li, AAAI 2020, https://arxiv.org/abs/2004.09681. Nodes here are feature
        channels, as in the paper; the released code forgets a transpose and makes them runs of
        pixels. The paper's widths at S = 256 are (256, 128, 64).
    """

    def __init__(
        self,
        backbone: keras.Model,
        num_points: int,
        decoder_filters: tuple[int, int, int] = (256, 128, 64),
        neighbors: int = 5,
        **kwargs: Any,
    ) -> None:
        # === Functional Model ===
        _, side, other_side, _ = backbone.input_shape
        expected = None if side is None else (None, side // STRIDE, side // STRIDE)
        if side != other_side or backbone.output_shape[:3] != expected:
            raise ValueError(
                "`backbone` must be square, static and at stride 32. Received: "
                f"{backbone.input_shape} -> {backbone.output_shape}."
            )
        image = keras.Input((side, side, 3), name="image")
        x = backbone(image)
        for level, filters in enumerate(decoder_filters, start=1):
            x = layers.Conv2DTranspose(
                filters, 4, strides=2, padding="same", use_bias=False, name=f"decoder{level}_deconv"
            )(x)
            x = layers.BatchNormalization(name=f"decoder{level}_bn")(x)
            x = layers.ReLU(6.0, name=f"decoder{level}_relu")(x)
            x = ChannelGraphConv(neighbors, name=f"decoder{level}_graph")(x)
        maps = layers.Conv2D(num_points, 1, dtype="float32", name="heatmaps")(x)
        super().__init__(inputs=image, outputs={"heatmaps": maps}, **kwargs)

        # === Config ===
        self.backbone = backbone
        self.num_points = num_points
        self.decoder_filters = tuple(decoder_filters)
        self.neighbors = neighbors

    def get_config(self) -> dict[str, Any]:
        """Returns what `__init__` takes, ready for JSON."""
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_points": self.num_points,
            "decoder_filters": list(self.decoder_filters),
            "neighbors": self.neighbors,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> AUHeatmapNet:
        """Rebuilds a network from `get_config`."""
        config = dict(config)
        backbone = keras.saving.deserialize_keras_object(config.pop("backbone"), custom_objects)
        return cls(backbone, **config)
