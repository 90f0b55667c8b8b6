"""The network that draws action units on a face."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import layers

from tfau.models.backbone_network import BackboneNetwork
from tfau.models.backbones import STRIDE
from tfau.models.channel_graph import ChannelGraphConv


@keras.saving.register_keras_serializable("tfau")
class AUHeatmapNet(BackboneNetwork):
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
        graph_levels: Decoder levels, 1 to 3, that have a graph. With `()` and 256 filters at each
            level it is the plain deconvolution network.
        node_layout: What a node of the graphs is, see `ChannelGraphConv`.
        graph_rank: Rank of the graphs' kernels; None = full.
        **kwargs: Passed to `keras.Model`, e.g. `name`.

    Call arguments:
        inputs: (B, S, S, 3) RGB in [0, 255].

    Returns:
        `{"heatmaps": (B, S / 4, S / 4, P)}` in intensity units, not clipped.

    Raises:
        ValueError: If the backbone is not static, square and at stride 32, or there is no such
            decoder level.

    Example:
        >>> import numpy as np
        >>> from tfau.models import backbones
        >>> net = AUHeatmapNet(backbones.tiny(64), 10, decoder_filters=(16, 8, 8))
        >>> net.predict(np.zeros((2, 64, 64, 3), "uint8"), verbose=0)["heatmaps"].shape
        (2, 16, 16, 10)

    References:
        - Fan, Lam and Li, AAAI 2020, https://arxiv.org/abs/2004.09681. Nodes here are feature
          channels, as in the paper; the released code forgets a transpose and makes them runs of
          pixels (`node_layout="released"`, 7 neighbours). The paper's widths at S = 256 are
          (256, 128, 64).
        - Xiao, Wu and Wei, "Simple Baselines for Human Pose Estimation and Tracking", ECCV 2018,
          https://arxiv.org/abs/1804.06208: the plain deconvolution network.
    """

    ARGUMENTS: ClassVar[tuple[str, ...]] = (
        "num_points",
        "decoder_filters",
        "neighbors",
        "graph_levels",
        "node_layout",
        "graph_rank",
    )

    def __init__(
        self,
        backbone: keras.Model,
        num_points: int,
        decoder_filters: tuple[int, int, int] = (256, 128, 64),
        neighbors: int = 5,
        graph_levels: tuple[int, ...] = (1, 2, 3),
        node_layout: str = "channels",
        graph_rank: int | None = None,
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
        levels = tuple(sorted(set(graph_levels)))
        if not set(levels) <= set(range(1, len(decoder_filters) + 1)):
            raise ValueError(
                f"`graph_levels` must lie in 1 to {len(decoder_filters)}. Received: {graph_levels}."
            )
        image = keras.Input((side, side, 3), name="image")
        x = backbone(image)
        for level, filters in enumerate(decoder_filters, start=1):
            x = layers.Conv2DTranspose(
                filters, 4, strides=2, padding="same", use_bias=False, name=f"decoder{level}_deconv"
            )(x)
            x = layers.BatchNormalization(name=f"decoder{level}_bn")(x)
            x = layers.ReLU(6.0, name=f"decoder{level}_relu")(x)
            if level in levels:
                x = ChannelGraphConv(
                    neighbors, graph_rank, node_layout, name=f"decoder{level}_graph"
                )(x)
        maps = layers.Conv2D(num_points, 1, dtype="float32", name="heatmaps")(x)
        super().__init__(inputs=image, outputs={"heatmaps": maps}, **kwargs)

        # === Config ===
        self.backbone = backbone
        self.num_points = num_points
        self.decoder_filters = tuple(decoder_filters)
        self.neighbors = neighbors
        self.graph_levels = levels
        self.node_layout = node_layout
        self.graph_rank = graph_rank
