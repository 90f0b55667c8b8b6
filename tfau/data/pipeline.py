"""Reads a prepared data set, whatever builder made it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_datasets as tfds

from tfau.core.action_units import AUSet
from tfau.core.errors import DatasetError
from tfau.data.augmentation import Augmentation


class PreparedSet:
    """A prepared TFDS folder of face crops.

    Args:
        folder: What `tfds_builders.prepare` returns.

    Raises:
        DatasetError: If the folder is not such a set.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        try:
            self._builder = tfds.builder_from_directory(str(folder))
            metadata = dict(self._builder.info.metadata or {})
            self.aus = AUSet(metadata["action_units"])
            self.crop_size = int(metadata["crop_size"])
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"{folder} is not a prepared data set of tfau: {error}.") from None
        self.name = f"{self._builder.info.full_name}"
        self.licence = str(metadata.get("licence", "unknown"))
        self.description = str(metadata.get("description", ""))

    def count(self, split: str) -> int:
        """Returns the number of examples of a split."""
        return int(self._builder.info.splits[split].num_examples)

    def batches(
        self,
        split: str,
        aus: AUSet,
        crop_size: int,
        batch_size: int,
        *,
        augmentation: Augmentation | None = None,
        seed: int | None = None,
    ) -> tf.data.Dataset:
        """Streams a split.

        Args:
            split: `"train"`, `"validation"` or `"test"`.
            aus: Units to learn; must be among those of the set.
            crop_size: Side of the crops that come out, px.
            batch_size: Crops to a batch.
            augmentation: Applied to each crop; needs a seed.
            seed: Shuffles, drops the incomplete last batch, and makes the order and every change
                repeatable. None: in order, everything.

        Returns:
            Batches of `(images (B, S, S, 3) float32 RGB in [0, 255], points (B, P, 3) float32)`.
        """
        decode = self._decoder(aus, crop_size)
        data = self._examples(split)
        if seed is not None:
            data = data.shuffle(min(self.count(split), 10_000), seed=seed)
        data = data.map(decode, num_parallel_calls=tf.data.AUTOTUNE)
        if augmentation is not None:

            def change(
                index: tf.Tensor, example: tuple[tf.Tensor, tf.Tensor]
            ) -> tuple[tf.Tensor, tf.Tensor]:
                image, points = example
                return augmentation(image, points, aus, tf.stack([tf.cast(seed, tf.int64), index]))

            data = data.enumerate().map(change, num_parallel_calls=tf.data.AUTOTUNE)
        data = data.batch(batch_size, drop_remainder=seed is not None)
        return data.prefetch(2)

    def sample(
        self, split: str, aus: AUSet, crop_size: int, count: int
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Reads evenly spaced examples of a split into memory.

        Args:
            split: As in `batches`.
            aus: As in `batches`.
            crop_size: As in `batches`.
            count: Number of examples; all, where the split has no more.

        Returns:
            (N, S, S, 3) uint8 crops and (N, P, 3) float32 points.
        """
        chosen = np.zeros(self.count(split), bool)
        chosen[np.linspace(0, len(chosen) - 1, min(count, len(chosen))).round().astype(int)] = True
        keep = tf.constant(chosen)
        data = self._examples(split).enumerate().filter(lambda index, _: keep[index])
        pairs = data.map(lambda _, example: self._decoder(aus, crop_size)(example))
        images, points = zip(*pairs.as_numpy_iterator(), strict=True)
        return np.rint(np.stack(images)).astype(np.uint8), np.stack(points)

    def intensities(self, split: str, aus: AUSet) -> npt.NDArray[np.float32]:
        """Returns the (N, A) labels of a split, without looking at a picture."""
        pick = aus.points_of(self.aus)
        labels = [
            example["points"][pick, 2] for example in self._examples(split).as_numpy_iterator()
        ]
        return aus.pool(np.stack(labels)).astype(np.float32)

    def _examples(self, split: str) -> tf.data.Dataset:
        """Reads a split in order, pictures still as JPEG."""
        return self._builder.as_dataset(
            split=split,
            decoders={"image": tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
        )

    def _decoder(
        self, aus: AUSet, crop_size: int
    ) -> Callable[[dict[str, tf.Tensor]], tuple[tf.Tensor, tf.Tensor]]:
        """Makes the function from an example to crop and points."""
        pick = aus.points_of(self.aus)
        scale = crop_size / self.crop_size

        def decode(example: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            image = tf.cast(tf.io.decode_jpeg(example["image"], channels=3), tf.float32)
            points = tf.gather(example["points"], pick)
            if crop_size != self.crop_size:
                image = tf.image.resize(image, (crop_size, crop_size), antialias=True)
                place = (points[:, :2] + 0.5) * scale - 0.5
                points = tf.concat([place, points[:, 2:]], axis=1)
            return tf.ensure_shape(image, (crop_size, crop_size, 3)), points

        return decode
