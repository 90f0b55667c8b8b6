"""What a network minimises that learns from segments, of which only the keyframes are coded.

A batch holds segments of F crops, from the lower keyframe to the higher one, each followed by F
mixtures of its own crops; `tfau.data.segments` makes them. As published, the terms weigh 1 (the
keyframes), .1 (the trend), .05 (the mixtures) and .005 (people), with intensities from 0 to 1.

References:
    Chen et al., "Trend-Aware Supervision: On Learning Invariance for Semi-Supervised Facial Action
    Unit Intensity Estimation", AAAI 2024, https://github.com/chen-yingjie/Trend_Aware_Supervision.
    Unlike the published code, the trend is that of the distance and not of the feature itself, and
    the same unit of different people is compared at levels that are coded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from tfau.core.action_units import INTENSITY_MAX


class _SegmentLoss(keras.losses.Loss):  # type: ignore[misc]
    """Knows where segments begin and end.

    Args:
        frames: Crops F of a segment.
        name: Name in the logs.
    """

    def __init__(self, frames: int, name: str, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.frames = frames

    def parts(self, values: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Divides (n * 2F, ...) into what is of the crops and of the mixtures, (n, F, ...) each."""
        values = ops.reshape(values, (-1, 2 * self.frames, *values.shape[1:]))
        return values[:, : self.frames], values[:, self.frames :]

    def get_config(self) -> dict[str, Any]:
        """Returns what `__init__` takes."""
        return {**super().get_config(), "frames": self.frames}


@keras.saving.register_keras_serializable("tfau")
class KeyframeLoss(_SegmentLoss):
    """Computes the squared error at the keyframes, and how far mixtures are from mixed answers.

    The answer on a mixture of two crops should be the mixture of the answers on the two, which are
    taken as they are.

    Args:
        frames: Crops F of a segment.
        vicinal_weight: Weight of the mixtures.
        weights: (A,) how much each unit counts at the keyframes; None = all alike.
        name: Name in the logs.

    Call arguments:
        y_true: (n * 2F, A + 3) labels as `tfau.data.segments` makes them.
        y_pred: (n * 2F, A) intensities.
    """

    def __init__(
        self,
        frames: int,
        vicinal_weight: float = 0.05,
        weights: Iterable[float] | None = None,
        name: str = "keyframe_loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(frames, name, **kwargs)
        self.vicinal_weight = vicinal_weight
        self.weights = None if weights is None else [float(weight) for weight in weights]

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the loss of each segment, (n,)."""
        label, how = self.parts(y_true)
        plain, mixed = self.parts(y_pred / INTENSITY_MAX)
        truth = label[..., :-3] / INTENSITY_MAX
        known = ops.logical_not(ops.isnan(truth))
        gap = ops.square(ops.where(known, plain - ops.where(known, truth, 0.0), 0.0))
        if self.weights is not None:
            gap = gap * ops.convert_to_tensor(self.weights, dtype=gap.dtype)
        count = ops.sum(ops.cast(known, gap.dtype), axis=(1, 2))
        error = ops.sum(gap, axis=(1, 2)) / ops.maximum(count, 1.0)
        partner = ops.one_hot(ops.cast(how[..., -2], "int32"), self.frames, dtype=plain.dtype)
        share = how[..., -1:]
        expected = share * plain + (1 - share) * ops.matmul(partner, plain)
        strange = ops.mean(ops.square(mixed - ops.stop_gradient(expected)), axis=(1, 2))
        return error + self.vicinal_weight * strange

    def get_config(self) -> dict[str, Any]:
        """Returns what `__init__` takes."""
        return {
            **super().get_config(),
            "vicinal_weight": self.vicinal_weight,
            "weights": self.weights,
        }


@keras.saving.register_keras_serializable("tfau")
class TrendLoss(_SegmentLoss):
    """Asks features to move away from the lower keyframe, and to be alike in different people.

    The squared distance to the feature of the first crop, which is taken as it is, must not
    shrink from one crop to the next. And two features of one unit at keyframes of the same level
    should point the same way if they are of two people.

    Args:
        frames: Crops F of a segment.
        trend_weight: Weight of what is lost on the way.
        subject_weight: Weight of the spread over people.
        name: Name in the logs.

    Call arguments:
        y_true: (n * 2F, A + 3) labels as `tfau.data.segments` makes them.
        y_pred: (n * 2F, A, C) features of length 1.
    """

    def __init__(
        self,
        frames: int,
        trend_weight: float = 0.1,
        subject_weight: float = 0.005,
        name: str = "trend_loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(frames, name, **kwargs)
        self.trend_weight, self.subject_weight = trend_weight, subject_weight

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the loss of each segment, (n,)."""
        label, _ = self.parts(y_true)
        feature, _ = self.parts(y_pred)
        level = ops.where(ops.isnan(label[..., :-3]), -1.0, ops.round(label[..., :-3]))
        ends = (0, self.frames - 1)  # the keyframes
        level = ops.stack([level[:, end] for end in ends], axis=1)  # (n, 2, A)

        start = ops.stop_gradient(feature[:, :1])
        distance = ops.sum(ops.square(feature - start), axis=-1)  # (n, F, A)
        lost = ops.sum(ops.relu(distance[:, :-1] - distance[:, 1:]), axis=1) / self.frames
        own = ops.cast(ops.all(level >= 0, axis=1), lost.dtype)  # the unit of the segment
        trend = ops.sum(lost * own, axis=-1)

        units = level.shape[-1]
        feature = ops.stack([feature[:, end] for end in ends], axis=1)
        feature = ops.reshape(feature, (-1, units, feature.shape[-1]))  # (2n, A, C)
        level = ops.reshape(level, (-1, units))
        person = ops.repeat(label[:, 0, -3], 2)
        pairs = ops.logical_and(level[:, None] == level[None], level[:, None] >= 0)  # (2n, 2n, A)
        pairs = ops.logical_and(pairs, (person[:, None] != person[None])[..., None])
        pairs = ops.cast(pairs, lost.dtype)
        apart = 1 - ops.einsum("iac,jac->ija", feature, feature)
        spread = ops.sum(pairs * apart) / ops.maximum(ops.sum(pairs), 1.0)
        return self.trend_weight * trend + self.subject_weight * spread

    def get_config(self) -> dict[str, Any]:
        """Returns what `__init__` takes."""
        return {
            **super().get_config(),
            "trend_weight": self.trend_weight,
            "subject_weight": self.subject_weight,
        }
