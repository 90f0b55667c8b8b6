"""What a network is asked to minimise."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from tfau.core.heatmaps import HeatmapCodec

_LEAST = 1e-7  # probability whose logarithm is still taken, weight that is still divided by


class _MeanLoss(keras.losses.Loss):  # type: ignore[misc]
    """Averages over what is coded.

    Args:
        name: Name in the logs.
        weights: (N,) how much each point or unit counts; None = all alike.
    """

    def __init__(self, name: str, weights: Iterable[float] | None = None, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.weights = None if weights is None else [float(weight) for weight in weights]

    def mean(self, coded: keras.KerasTensor, loss: keras.KerasTensor) -> keras.KerasTensor:
        """Averages (B, N) losses over those that are coded (1, else 0): (B,), 0 where none is."""
        if self.weights is not None:
            coded = coded * ops.convert_to_tensor(self.weights, dtype=coded.dtype)
        return ops.sum(loss * coded, axis=-1) / ops.maximum(ops.sum(coded, axis=-1), _LEAST)

    def get_config(self) -> dict[str, Any]:
        """Returns what `__init__` takes."""
        return {**super().get_config(), "weights": self.weights}


@keras.saving.register_keras_serializable("tfau")
class HeatmapLoss(_MeanLoss):
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
        weights: (P,) how much each point counts; None = all alike.

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
        return self.mean(coded, pixels + self.intensity_weight * reads)

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


class _PointLoss(_MeanLoss):
    """Reads from points what is true of units.

    Args:
        point_owner: (P,) column of the unit that each point belongs to, `AUSet.point_owner`.
        name: Name in the logs.
        weights: (A,) how much each unit counts; None = all alike.
    """

    def __init__(self, point_owner: Iterable[int], name: str, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.point_owner = [int(owner) for owner in point_owner]

    def pool(self, points: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Averages (B, P, 3) points as `AUSet.pool` does.

        Returns:
            (B, A) mean over the coded points of each unit, 0 where there is none; and (B, A)
            whether there is one, 1 or 0.
        """
        units = range(max(self.point_owner) + 1)
        owner = np.equal.outer(self.point_owner, units).astype("float32")  # (P, A)
        intensity = points[..., 2]
        known = ops.logical_not(ops.isnan(intensity))
        total = ops.matmul(ops.where(known, intensity, 0.0), owner)
        count = ops.matmul(ops.cast(known, "float32"), owner)
        return total / ops.maximum(count, 1.0), ops.cast(count > 0, "float32")

    def get_config(self) -> dict[str, Any]:
        """Returns what `__init__` takes."""
        return {**super().get_config(), "point_owner": self.point_owner}


@keras.saving.register_keras_serializable("tfau")
class IntensityLoss(_PointLoss):
    """Computes the squared error of the intensity of units that are coded.

    Args:
        point_owner: (P,) column of the unit that each point belongs to, `AUSet.point_owner`.
        name: Name in the logs.
        weights: (A,) how much each unit counts; None = all alike.

    Call arguments:
        y_true: (B, P, 3) points: x px, y px, intensity; NaN = not coded.
        y_pred: (B, A) intensities.
    """

    def __init__(
        self, point_owner: Iterable[int], name: str = "intensity_loss", **kwargs: Any
    ) -> None:
        super().__init__(point_owner, name, **kwargs)

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the loss of each example, (B,)."""
        intensity, coded = self.pool(y_true)
        return self.mean(coded, ops.square(y_pred - intensity))


@keras.saving.register_keras_serializable("tfau")
class LevelsLoss(_PointLoss):
    """Computes the cross-entropy of the question whether a unit is of level k or more.

    An intensity between two levels, as the mean of two sides can be, is the upper one in part:
    2.5 is of level 3 or more with probability .5.

    Args:
        point_owner: (P,) column of the unit that each point belongs to, `AUSet.point_owner`.
        name: Name in the logs.
        weights: (A,) how much each unit counts; None = all alike.

    Call arguments:
        y_true: (B, P, 3) points: x px, y px, intensity; NaN = not coded.
        y_pred: (B, A, K) probabilities of the levels 1 to K or more.
    """

    def __init__(
        self, point_owner: Iterable[int], name: str = "levels_loss", **kwargs: Any
    ) -> None:
        super().__init__(point_owner, name, **kwargs)

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the loss of each example, (B,)."""
        intensity, coded = self.pool(y_true)
        below = np.arange(y_pred.shape[-1], dtype="float32")  # (K,)
        truth = ops.clip(ops.subtract(intensity[..., None], below), 0.0, 1.0)  # (B, A, K)
        return self.mean(coded, ops.sum(_cross_entropy(truth, y_pred), axis=-1))


@keras.saving.register_keras_serializable("tfau")
class PresenceLoss(_MeanLoss):
    """Computes the cross-entropy of the presence of units that are coded.

    Args:
        name: Name in the logs.
        weights: (A,) how much each unit counts; None = all alike.

    Call arguments:
        y_true: (B, A) 1 or 0; NaN = not coded.
        y_pred: (B, A) probabilities.
    """

    def __init__(self, name: str = "presence_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the loss of each example, (B,)."""
        known = ops.logical_not(ops.isnan(y_true))
        truth = ops.where(known, y_true, 0.0)
        return self.mean(ops.cast(known, y_pred.dtype), _cross_entropy(truth, y_pred))


@keras.saving.register_keras_serializable("tfau")
class EmotionLoss(keras.losses.Loss):  # type: ignore[misc]
    """Computes the cross-entropy of the emotion where it is coded.

    Args:
        name: Name in the logs.

    Call arguments:
        y_true: (B, E), 1 at the emotion and 0 elsewhere; NaN = not coded.
        y_pred: (B, E) probabilities that add up to 1.
    """

    def __init__(self, name: str = "emotion_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the loss of each example, (B,)."""
        truth = ops.where(ops.isnan(y_true), 0.0, y_true)
        return -ops.sum(truth * ops.log(ops.clip(y_pred, _LEAST, 1.0)), axis=-1)


def _cross_entropy(truth: keras.KerasTensor, estimate: keras.KerasTensor) -> keras.KerasTensor:
    """Computes the cross-entropy of probabilities, number by number."""
    estimate = ops.clip(estimate, _LEAST, 1 - _LEAST)
    return -(truth * ops.log(estimate) + (1 - truth) * ops.log(1 - estimate))
