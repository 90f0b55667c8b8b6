"""Changes a crop as cameras and heads do, and moves its points along."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfau.core.action_units import AUSet


@dataclass(frozen=True)
class Augmentation:
    """Says how strongly crops are changed.

    Args:
        rotation_deg: Largest turn to either side.
        scale: Largest relative change of size.
        shift: Largest shift, as a part of the crop's side.
        brightness: Largest relative change of exposure.
        contrast: Largest relative change of contrast.
        grey: Share of crops without colour.
    """

    rotation_deg: float = 4.0
    scale: float = 0.04
    shift: float = 0.03
    brightness: float = 0.25
    contrast: float = 0.25
    grey: float = 0.1

    def __call__(
        self, image: tf.Tensor, points: tf.Tensor, aus: AUSet, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Changes one crop.

        Args:
            image: (S, S, 3) float32 RGB in [0, 255].
            points: (P, 3) x px, y px, intensity.
            aus: The units of the points.
            seed: (2,) int32; decides everything.

        Returns:
            Image and points of the same shapes. A mirrored face has left and right exchanged.
        """
        side = tf.cast(tf.shape(image)[0], tf.float32)
        random = tf.random.stateless_uniform([8], seed, -1.0, 1.0)

        if random[0] < 0:
            image = image[:, ::-1]
            points = tf.gather(points, aus.flip_index)
            points = tf.stack([side - 1 - points[:, 0], points[:, 1], points[:, 2]], axis=1)

        angle = random[1] * self.rotation_deg * (np.pi / 180)
        scale = 1 + random[2] * self.scale
        cosine, sine = scale * tf.cos(angle), scale * tf.sin(angle)
        centre = (side - 1) / 2
        target = centre + random[3:5] * self.shift * side
        x, y = points[:, 0] - centre, points[:, 1] - centre
        points = tf.stack(
            [
                cosine * x - sine * y + target[0],
                sine * x + cosine * y + target[1],
                points[:, 2],
            ],
            axis=1,
        )
        image = _warp(image, cosine, sine, target, centre)

        image = image * (1 + random[5] * self.brightness)
        mean = tf.reduce_mean(image)
        image = (image - mean) * (1 + random[6] * self.contrast) + mean
        if (random[7] + 1) / 2 < self.grey:
            image = tf.repeat(tf.image.rgb_to_grayscale(image), 3, axis=-1)
        return tf.clip_by_value(image, 0.0, 255.0), points


def _warp(
    image: tf.Tensor, cosine: tf.Tensor, sine: tf.Tensor, target: tf.Tensor, centre: tf.Tensor
) -> tf.Tensor:
    """Applies p -> R (p - centre) + target to the picture, bilinear; the edge is repeated."""
    norm = cosine**2 + sine**2
    a, b = cosine / norm, sine / norm  # the inverse of R: the operation asks where pixels come from
    transform = tf.stack(
        [
            a,
            b,
            centre - a * target[0] - b * target[1],
            -b,
            a,
            centre + b * target[0] - a * target[1],
            0.0,
            0.0,
        ]
    )
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=transform[None],
        output_shape=tf.shape(image)[:2],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )[0]
