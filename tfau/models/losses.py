"""What a network is asked to minimise."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfau.core.heatmaps import HeatmapCodec


@keras.saving.register_keras_serializable("tfau")
class HeatmapLoss(keras.losses.Loss):  # type: ignore[misc]
    """Compares maps with the points they should show; the target is drawn on the device.

    The squared error of the maps, plus the squared error of the intensity read at the true place.
    The second is one direction of the first, the one that is scored: without its weight the loss
    of a rare unit is mostly about the shape of the background. Points with a NaN do not count.

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
        intensity_weight: float = 0.1,
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
        ones = ops.concatenate([points[..., :2], ops.ones_like(points[..., 2:])], axis=-1)
        bump = self.codec.encode(ones, xp=ops)  # (B, H, W, P)
        error = (y_pred - bump * intensity[:, None, None, :]) * coded[:, None, None, :]
        pixels = ops.mean(ops.square(error), axis=(1, 2))  # (B, P)
        read = ops.sum(error * bump, axis=(1, 2)) / ops.sum(bump * bump, axis=(1, 2))
        total = ops.sum(pixels + self.intensity_weight * ops.square(read), axis=-1)
        return total / ops.maximum(ops.sum(coded, axis=-1), 1.0)

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
