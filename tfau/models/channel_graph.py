"""Feature channels exchange evidence on a graph that is rebuilt for every image."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from tfau.core.names import check_name

NODE_LAYOUTS = ("channels", "released")
"""What a node is: a channel's map, or the run of pixels that the published code makes of it."""


@keras.saving.register_keras_serializable("tfau")
class ChannelGraphConv(layers.Layer):  # type: ignore[misc]
    """Convolves over the nearest channels of each channel.

    A node is a channel: its whole map, flattened. Every node is joined to its k nearest nodes
    (squared Euclidean distance; itself among them), an edge carries `[x_i, x_j - x_i]` through a
    shared linear map, batch normalisation and ReLU, and the node keeps the maximum over its edges.

    The linear map is applied to the two halves of an edge separately, which gives the same number
    with two matrix products a node instead of one an edge:
    `W [x_i ; x_j - x_i] = (Wa - Wb) x_i + Wb x_j`.

    Args:
        neighbors: Edges per node, the node itself included; clipped to the number of channels.
        rank: None, or r: the joined kernel `[Wa - Wb, Wb]` is then the identity plus a product of
            (HW, r) and (r, 2 HW), which is a fraction of the weights and of the work.
        node_layout: `"channels"`, or `"released"`, which cuts the (H, W, C) array into C runs as it
            lies in memory, as the published code does: a node is then HW / C neighbouring pixels
            with all their channels.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        inputs: (B, H, W, C), H and W static.

    Returns:
        (B, H, W, C).

    Example:
        >>> tuple(ChannelGraphConv(neighbors=3)(ops.ones((2, 8, 8, 6))).shape)
        (2, 8, 8, 6)

    References:
        - Fan, Lam and Li, "Facial Action Unit Intensity Estimation via Semantic Correspondence
          Learning with Dynamic Graph Convolution", AAAI 2020, https://arxiv.org/abs/2004.09681.
        - Wang et al., "Dynamic Graph CNN for Learning on Point Clouds", ACM TOG 38(5), 2019.
    """

    def __init__(
        self,
        neighbors: int = 5,
        rank: int | None = None,
        node_layout: str = "channels",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if neighbors < 1:
            raise ValueError(f"`neighbors` must be at least 1. Received: {neighbors}.")
        if rank is not None and rank < 1:
            raise ValueError(f"`rank` must be at least 1, or None. Received: {rank}.")
        check_name("node layout", node_layout, NODE_LAYOUTS)
        self.neighbors, self.rank, self.node_layout = neighbors, rank, node_layout
        self.norm = layers.BatchNormalization(name="bn")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the weights: two (HW, HW) kernels, or their factors."""
        _, height, width, channels = input_shape
        if height is None or width is None or channels is None:
            raise ValueError(f"Height and width must be static. Received: {input_shape}.")
        area = height * width
        if self.node_layout == "released" and area % channels:
            raise ValueError(
                "The released node layout wants channels that divide height times width. "
                f"Received: {input_shape}."
            )
        self.k = min(self.neighbors, channels)
        # A channel starts as itself, and the layer learns what its neighbours add. With a random
        # start a network learns more slowly.
        if self.rank is None:
            shape = (area, area)
            self.own_kernel = self.add_weight(name="own", shape=shape, initializer="identity")
            self.other_kernel = self.add_weight(name="other", shape=shape, initializer="zeros")
        else:
            self.down = self.add_weight(
                name="down", shape=(area, self.rank), initializer="glorot_uniform"
            )
            self.up = self.add_weight(name="up", shape=(self.rank, 2 * area), initializer="zeros")
        self.norm.build((None, channels, self.k, area))
        super().build(input_shape)

    def call(self, inputs: keras.KerasTensor, training: bool | None = None) -> keras.KerasTensor:
        """Runs the layer."""
        _, height, width, channels = inputs.shape
        area = height * width
        by_channel = self.node_layout == "channels"
        if by_channel:
            nodes = ops.transpose(ops.reshape(inputs, (-1, area, channels)), (0, 2, 1))
        else:
            nodes = ops.reshape(inputs, (-1, channels, area))
        own, other = self._halves(nodes)  # (B, C, HW) both, as the nodes
        # A gather from one long list of rows, because every runtime does that fast; as a product
        # with one-hot rows an 8-bit graph takes 2.5 times as long.
        first = ops.arange(ops.shape(nodes)[0], dtype="int32")[:, None, None] * channels
        rows = ops.reshape(other, (-1, area))  # (B C, HW)
        edges = ops.take(rows, self._neighbours(nodes) + first, axis=0)  # (B, C, k, HW)
        edges = self.norm(own[:, :, None, :] + edges, training=training)
        best = ops.max(ops.relu(edges), axis=2)  # (B, C, HW)
        if by_channel:
            best = ops.transpose(best, (0, 2, 1))
        return ops.reshape(best, (-1, height, width, channels))

    def _halves(self, nodes: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Returns what a node gives to its own edges, and to those of its neighbours."""
        if self.rank is None:
            return ops.matmul(nodes, self.own_kernel), ops.matmul(nodes, self.other_kernel)
        own, other = ops.split(ops.matmul(ops.matmul(nodes, self.down), self.up), 2, axis=-1)
        return nodes + own, other

    def _neighbours(self, nodes: keras.KerasTensor) -> keras.KerasTensor:
        """Returns (B, C, k) int32: the channels that each channel is joined to."""
        nodes = ops.stop_gradient(nodes)
        product = ops.matmul(nodes, ops.transpose(nodes, (0, 2, 1)))  # (B, C, C)
        length = ops.sum(nodes * nodes, axis=-1)  # (B, C)
        # |x_i - x_j|^2 without |x_i|^2, which is the same for all neighbours of i
        nearness = 2 * product - length[:, None, :]
        return ops.cast(ops.top_k(nearness, self.k)[1], "int32")

    def get_config(self) -> dict[str, Any]:
        """Returns what `__init__` takes."""
        return {
            **super().get_config(),
            "neighbors": self.neighbors,
            "rank": self.rank,
            "node_layout": self.node_layout,
        }
