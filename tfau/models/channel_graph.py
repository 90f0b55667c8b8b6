"""Feature channels exchange evidence on a graph that is rebuilt for every image."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops


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

    def __init__(self, neighbors: int = 5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if neighbors < 1:
            raise ValueError(f"`neighbors` must be at least 1. Received: {neighbors}.")
        self.neighbors = neighbors
        self.norm = layers.BatchNormalization(name="bn")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the weights: two (HW, HW) kernels."""
        _, height, width, channels = input_shape
        if height is None or width is None or channels is None:
            raise ValueError(f"Height and width must be static. Received: {input_shape}.")
        area = height * width
        self.k = min(self.neighbors, channels)
        # A channel starts as itself, and the layer learns what its neighbours add. With a random
        # start a network learns more slowly.
        shape = (area, area)
        self.own_kernel = self.add_weight(name="own", shape=shape, initializer="identity")
        self.other_kernel = self.add_weight(name="other", shape=shape, initializer="zeros")
        self.norm.build((None, channels, self.k, area))
        super().build(input_shape)

    def call(self, inputs: keras.KerasTensor, training: bool | None = None) -> keras.KerasTensor:
        """Runs the layer."""
        _, height, width, channels = inputs.shape
        area = height * width
        nodes = ops.transpose(ops.reshape(inputs, (-1, area, channels)), (0, 2, 1))  # (B, C, HW)
        own = ops.matmul(nodes, self.own_kernel)  # (B, C, HW)
        other = ops.matmul(nodes, self.other_kernel)
        # A gather from one long list of rows, because every runtime does that fast; as a product
        # with one-hot rows an 8-bit graph takes 2.5 times as long.
        first = ops.arange(ops.shape(nodes)[0], dtype="int32")[:, None, None] * channels
        rows = ops.reshape(other, (-1, area))  # (B C, HW)
        edges = ops.take(rows, self._neighbours(nodes) + first, axis=0)  # (B, C, k, HW)
        edges = self.norm(own[:, :, None, :] + edges, training=training)
        best = ops.max(ops.relu(edges), axis=2)  # (B, C, HW)
        return ops.reshape(ops.transpose(best, (0, 2, 1)), (-1, height, width, channels))

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
        return {**super().get_config(), "neighbors": self.neighbors}
