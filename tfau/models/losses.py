"""What a network is asked to minimise."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from tfau.core.heatmaps import HeatmapCodec


@keras.saving.register_keras_serializable("tfau")
class HeatmapLoss(keras.losses.Loss):  # type: ignore[misc]
    """Compares maps with the points they should show; the target is drawn on the device.

    The squared error of the maps, plus the squared error of the intensity that is read from them:
    half at the true place, half at the place that the decoder takes. With little weight on them,
    training rests for epochs on maps that show nothing; without the second half, absent units
    read too high, because the decoder looks for the highest point of the noise. Points with a NaN
    do not count, and a point that lies outside the crop by more than a little is not read at its
    true place: there is nothing to read.

    Args:
        crop_size: Side S of the crop, px.
        stride: Crop pixels to a map pixel.
        sigma: Width of a bump, map px.
        intensity_weight: Weight of the intensity term.
        name: Name in the logs.

    Call arguments:
        y_true: (B, P, 3) points: x px, y px, intensity; NaN = not coded.
        y_pred: (B, S / stride, S / stride, P) maps.
    """

    def __init__(
        self,
        crop_size: int,
        stride: int = 4,
        sigma: float = 2.0,
        intensity_weight: float = 1.0,
        name: str = "heatmap_loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.codec = HeatmapCodec(crop_size, stride, sigma)
        self.intensity_weight = intensity_weight

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the loss of each example, (B,)."""
        known = ops.logical_not(ops.any(ops.isnan(y_true), axis=-1, keepdims=True))  # (B, P, 1)
        points = ops.where(known, y_true, 0.0)
        coded = ops.cast(known[..., 0], y_pred.dtype)  # (B, P)
        intensity = points[..., 2]
        target = self.codec.encode(points, xp=ops)  # (B, H, W, P)
        pixels = ops.mean(ops.square(y_pred - target), axis=(1, 2))  # (B, P)
        seen = ops.nan_to_num(ops.stop_gradient(self.codec.decode(y_pred, xp=ops)))
        reads = 0.0
        for place in (points, seen):
            height, visible = self._height(y_pred, place)
            reads += ops.where(visible, ops.square(height - intensity), 0.0) / 2
        loss = pixels + self.intensity_weight * reads
        return ops.sum(loss * coded, axis=-1) / ops.maximum(ops.sum(coded, axis=-1), 1.0)

    def _height(
        self, maps: keras.KerasTensor, place: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Fits the height of a bump at (B, P, 2 or more) places, as the codec does.

        Returns:
            (B, P) heights, and (B, P) whether a fifth of the bump or more lies on the map.
        """
        ones = ops.ones_like(place[..., :1])
        bump = self.codec.encode(ops.concatenate([place[..., :2], ones], axis=-1), xp=ops)
        energy = ops.sum(bump * bump, axis=(1, 2))
        least = 0.2 * math.pi * self.codec.sigma**2
        height = ops.sum(maps * bump, axis=(1, 2)) / ops.maximum(energy, least)
        return height, energy >= least

    def get_config(self) -> dict[str, Any]:
        """Returns what `__init__` takes."""
        codec = self.codec
        return {
            **super().get_config(),
            "crop_size": codec.crop_size,
            "stride": codec.stride,
            "sigma": codec.sigma,
            "intensity_weight": self.intensity_weight,
        }
