"""Changes a crop as cameras and heads do, and moves its points along."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import tensorflow as tf

from tfau.core.action_units import AUSet

_LUMA = (0.299, 0.587, 0.114)  # what each channel adds to grey, ITU-R BT.601


@dataclass(frozen=True)
class Augmentation:
    """Says how often and how strongly crops are changed, in the order in which it happens.

    Shares are of crops, 0 to 1; strengths are the largest that can be drawn. Where either is 0,
    that kind is off. Switching one kind off does not change what is drawn for the others.

    Args:
        flip: Share that is mirrored; left and right change places.
        rotation_deg: Largest turn to either side.
        scale: Largest relative change of size.
        shift: Largest shift, as a part of the crop's side.
        cut_out: Share in which a rectangle of one colour covers something. Points below it keep
            their labels: a network must guess them from the rest of the face.
        cut_out_side: Longest side of the rectangle, as a part of the crop's side.
        blur: Share that is out of focus.
        blur_sigma: Largest standard deviation of the blur, as a part of the crop's side.
        brightness: Largest relative change of exposure.
        contrast: Largest relative change of contrast.
        saturation: Largest relative change of saturation.
        gain: Largest relative change of a single colour channel, as white balance makes.
        grey: Share without colour.
        noise: Share with sensor noise.
        noise_std: Largest standard deviation of the noise, of 255.
        jpeg: Share that is compressed once more.
        jpeg_quality: Lowest quality, 0 to 100.

    Raises:
        ValueError: If a share lies outside 0-1 or a strength is negative.
    """

    flip: float = 0.5
    rotation_deg: float = 4.0
    scale: float = 0.04
    shift: float = 0.03
    cut_out: float = 0.05
    cut_out_side: float = 0.25
    blur: float = 0.05
    blur_sigma: float = 0.01
    brightness: float = 0.25
    contrast: float = 0.25
    saturation: float = 0.2
    gain: float = 0.05
    grey: float = 0.1
    noise: float = 0.05
    noise_std: float = 6.0
    jpeg: float = 0.05
    jpeg_quality: int = 40

    def __post_init__(self) -> None:
        highest = dict.fromkeys(("flip", "cut_out", "blur", "grey", "noise", "jpeg"), 1.0)
        highest["jpeg_quality"] = 100.0
        for name, value in dataclasses.asdict(self).items():
            if not 0 <= value <= highest.get(name, math.inf):
                limit = f"0-{highest[name]:g}" if name in highest else "0 or more"
                raise ValueError(f"`{name}` must be {limit}. Received: {value}.")

    @classmethod
    def none(cls) -> Augmentation:
        """Returns one that changes nothing."""
        return cls(**{field.name: 0 for field in dataclasses.fields(cls)})

    def __call__(
        self, image: tf.Tensor, points: tf.Tensor, aus: AUSet, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Changes one crop.

        Args:
            image: (S, S, 3) float32 RGB in [0, 255]; S static.
            points: (P, 3) x px, y px, intensity; NaN stays NaN.
            aus: The units of the points.
            seed: (2,) int; decides everything.

        Returns:
            Image and points of the same shapes, the image still in [0, 255].
        """
        draws = tf.random.stateless_uniform([26], seed)
        share, size, change = draws[:6], draws[6:16], draws[16:] * 2 - 1

        if share[0] < self.flip:
            image, points = _mirror(image, points, aus)
        if self.rotation_deg or self.scale or self.shift:
            turn = change[0] * math.radians(self.rotation_deg)
            scale = 1 + change[1] * self.scale
            image, points = _move(image, points, turn, scale, change[2:4] * self.shift)
        if share[1] < self.cut_out:
            image = _cover(image, size[:2], size[2:4] * self.cut_out_side, size[4:7] * 255)
        if self.blur_sigma and share[2] < self.blur:
            image = _blur(image, size[7], self.blur_sigma)
        if self.brightness or self.contrast or self.saturation or self.gain or self.grey:
            saturation = 1 + change[6] * self.saturation
            image = _light(
                image,
                (1 + change[4] * self.brightness) * (1 + change[7:] * self.gain),
                1 + change[5] * self.contrast,
                tf.where(share[3] < self.grey, 0.0, saturation),
            )
        if share[4] < self.noise:
            # The same in the dark: what light adds in a sensor, the gamma of pictures takes away.
            noise = tf.random.stateless_normal(image.shape, tf.random.fold_in(seed, 1))
            image += size[8] * self.noise_std * noise
        image = tf.clip_by_value(image, 0.0, 255.0)
        if share[5] < self.jpeg:
            quality = self.jpeg_quality + size[9] * (100 - self.jpeg_quality)
            pixels = tf.cast(tf.round(image), tf.uint8)
            pixels = tf.image.adjust_jpeg_quality(pixels, tf.cast(quality, tf.int32))
            image = tf.ensure_shape(tf.cast(pixels, tf.float32), image.shape)
        return image, points


def _mirror(image: tf.Tensor, points: tf.Tensor, aus: AUSet) -> tuple[tf.Tensor, tf.Tensor]:
    """Exchanges left and right."""
    points = tf.gather(points, aus.flip_index)
    place = tf.stack([image.shape[1] - 1 - points[:, 0], points[:, 1]], axis=1)
    return image[:, ::-1], tf.concat([place, points[:, 2:]], axis=1)


def _move(
    image: tf.Tensor, points: tf.Tensor, turn: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Turns and scales about the middle, then shifts; bilinear, and the edge is repeated."""
    side = image.shape[0]
    centre = (side - 1) / 2
    a, b = scale * tf.cos(turn), scale * tf.sin(turn)
    target = centre + shift * side
    x, y = points[:, 0] - centre, points[:, 1] - centre
    place = tf.stack([a * x - b * y + target[0], b * x + a * y + target[1]], axis=1)

    norm = scale**2
    a, b = a / norm, b / norm  # the inverse: the operation asks where a pixel comes from
    x = centre - a * target[0] - b * target[1]
    y = centre + b * target[0] - a * target[1]
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=tf.stack([a, b, x, -b, a, y, 0.0, 0.0])[None],
        output_shape=[side, side],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    return moved[0], tf.concat([place, points[:, 2:]], axis=1)


def _cover(image: tf.Tensor, centre: tf.Tensor, sides: tf.Tensor, colour: tf.Tensor) -> tf.Tensor:
    """Fills a rectangle; centre and sides as (y, x) parts of the picture."""
    grid = (tf.range(image.shape[0], dtype=tf.float32) + 0.5) / image.shape[0]
    rows, columns = (tf.abs(grid - centre[n]) < sides[n] / 2 for n in (0, 1))
    return tf.where((rows[:, None] & columns)[..., None], colour, image)


def _blur(image: tf.Tensor, strength: tf.Tensor, largest: float) -> tf.Tensor:
    """Takes a Gaussian mean; the edge is mirrored."""
    side = image.shape[0]
    radius = math.ceil(3 * largest * side)
    sigma = strength * largest * side + 1e-3  # 0 would be 0 / 0
    taps = tf.exp(-((tf.range(-radius, radius + 1, dtype=tf.float32) / sigma) ** 2) / 2)
    taps /= tf.reduce_sum(taps)
    padded = tf.pad(image, [[radius, radius], [radius, radius], [0, 0]], "SYMMETRIC")[None]
    for shape in ((-1, 1, 1, 1), (1, -1, 1, 1)):
        kernel = tf.tile(tf.reshape(taps, shape), (1, 1, 3, 1))
        padded = tf.nn.depthwise_conv2d(padded, kernel, (1, 1, 1, 1), "VALID")
    return padded[0]


def _light(
    image: tf.Tensor, gain: tf.Tensor, contrast: tf.Tensor, saturation: tf.Tensor
) -> tf.Tensor:
    """Applies (3,) gains, then contrast about the mean, and saturation: one matrix for all."""
    luma = tf.constant(_LUMA)
    mean = tf.reduce_sum(tf.reduce_mean(image, (0, 1)) * gain * luma)
    mix = saturation * tf.eye(3) + (1 - saturation) * luma[:, None]  # (3, 3) from, to
    return tf.tensordot(image, contrast * gain[:, None] * mix, 1) + (1 - contrast) * mean
