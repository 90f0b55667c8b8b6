"""Stretches of recordings between the keyframes of a unit, and batches of them.

A keyframe is where the intensity of a unit turns: the middle of a plateau that is higher or lower
than those before and after it, or the first or last plateau of the recording. Only frames where the
unit is coded are looked at, so in a set that codes keyframes alone, those are found; in a set that
codes every frame, all other labels are left out.
"""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfau.core.action_units import AUSet
from tfau.data.augmentation import Augmentation
from tfau.data.pipeline import Labels, PreparedSet, Rows, decode

_MIXING = 0.5  # of the beta distribution: mostly a little of the one and much of the other


def keyframes(intensity: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int64]:
    """Finds where a curve turns.

    Args:
        intensity: (T,) in the order of time; NaN = not coded.

    Returns:
        Frames from 0 to T - 1, in order; none where the curve never changes.

    Example:
        >>> keyframes(np.array([0, 0, 0, 1, 3, 3, 3, np.nan, 2, 4.0])).tolist()
        [1, 5, 8, 9]
    """
    coded = np.flatnonzero(~np.isnan(intensity))
    level = intensity[coded]
    first = np.flatnonzero(np.diff(level, prepend=np.nan) != 0)  # of each plateau
    middle = (first + np.append(first[1:], len(level)) - 1) // 2
    rises = np.diff(level[first]) > 0
    turns = np.concatenate([[True], rises[1:] != rises[:-1], [True]])
    found: npt.NDArray[np.int64] = coded[middle[turns]] if len(rises) else coded[:0]
    return found


def find(
    labels: Labels, rows: Rows, columns: list[int], length: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Finds segments: evenly spaced frames from a valley of a unit to the peak after or before it.

    A stretch between two keyframes that has fewer frames than a segment is left out.

    Args:
        labels: What is known of N examples.
        rows: (N,) which of them may be used; how often does not matter.
        columns: Columns of the units.
        length: Frames F of a segment, both keyframes included.

    Returns:
        (n, F) rows of the examples, lower keyframe first; and (n,) places in `columns`.
    """
    names = np.stack([labels.dataset, labels.subject, labels.sequence], axis=1)
    chosen = np.flatnonzero(rows)
    _, recording = np.unique(names[chosen], axis=0, return_inverse=True)
    chosen = chosen[np.lexsort((labels.frame[chosen], recording))]
    segments, units = [], []
    for frames in np.split(chosen, np.cumsum(np.bincount(recording))[:-1]):
        for unit, column in enumerate(columns):
            if len(frames) < length:
                continue
            curve = labels.intensity[frames, column]
            turns = keyframes(curve)
            for start, end in itertools.pairwise(turns):
                if end - start + 1 >= length:
                    valley, peak = (start, end) if curve[start] < curve[end] else (end, start)
                    places = np.linspace(valley, peak, length).round().astype(np.int64)
                    segments.append(frames[places])
                    units.append(unit)
    shape = (len(segments), length)
    return np.array(segments, np.int64).reshape(shape), np.array(units, np.int64)


class Segments:
    """The keyframe segments of a choice of examples. Their pictures are kept in memory, as JPEG.

    Args:
        data: The prepared set or sets.
        rows: (N,) which of its examples; how often does not matter.
        aus: Units to learn.
        length: Frames F of a segment, both keyframes included.

    Raises:
        ValueError: If a segment is shorter than 3 frames, or there is none.
    """

    def __init__(self, data: PreparedSet, rows: Rows, aus: AUSet, length: int) -> None:
        if length < 3:
            raise ValueError(f"`segment` must be at least 3 frames. Received: {length}.")
        columns = [data.aus.index(number) for number in aus.numbers]
        self.frames, self.unit = find(data.labels, rows, columns, length)
        if not len(self.frames):
            raise ValueError(
                f"`segment` must leave something to learn from: no unit takes {length} frames from "
                "one turn of its intensity to the next. Take fewer."
            )
        self._data, self._aus = data, aus
        names = np.stack([data.labels.dataset, data.labels.subject], axis=1)
        _, self._person = np.unique(names, axis=0, return_inverse=True)
        self._levels = data.labels.intensity[:, columns]

    def __len__(self) -> int:
        """Returns the number n of segments."""
        return len(self.frames)

    @cached_property
    def _jpegs(self) -> tuple[npt.NDArray[np.int64], tf.Tensor]:
        """Reads what some segment needs, once: rows, and their pictures."""
        needed = np.zeros(len(self._data), bool)
        needed[self.frames] = True
        return np.flatnonzero(needed), tf.constant(self._data.pictures(needed))

    def batches(
        self, crop_size: int, batch_size: int, *, augmentation: Augmentation | None, seed: int
    ) -> tf.data.Dataset:
        """Streams every segment once, shuffled; an incomplete last batch is dropped.

        A segment is F crops, all of them augmented alike, and then F mixtures: of each crop and
        another one of its segment, in a ratio drawn once for the segment.

        Args:
            crop_size: Side S of the crops that come out, px.
            batch_size: Segments n to a batch.
            augmentation: Applied to each segment, differently each time.
            seed: Decides everything random.

        Returns:
            Batches of `(images, labels)`: (n * 2F, S, S, 3) float32 RGB in [0, 255], and a dict of
            `segments` (n * 2F, A + 3) float32: the intensity of the unit whose segment it is, at
            its keyframes, NaN elsewhere; a number for the person; which crop of the segment this
            one is mixed with; and how much of it is its own, 1 where it is not mixed.

        Raises:
            ValueError: If there are fewer segments than a batch needs.
        """
        if batch_size > len(self):
            raise ValueError(
                f"`batch_size` must be at most {len(self)}, the number of segments. "
                f"Received: {batch_size}."
            )
        random = np.random.default_rng(seed)
        order = random.permutation(len(self))
        frames, labels = self.frames[order], self._labels(order, random)
        length = frames.shape[1]
        rows, pictures = self._jpegs
        points = tf.zeros((len(self._aus.point_names), 3))  # augmentation wants some to move along

        def crop(segment: tf.Tensor, picture: tf.Tensor) -> tf.Tensor:
            image = decode(tf.gather(pictures, picture), crop_size)
            if augmentation is not None:
                place = tf.stack([tf.cast(seed, tf.int64), segment])
                image, _ = augmentation(image, points, self._aus, place)
            return image

        def mix(images: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            partner, share = tf.cast(label[length:, -2], tf.int32), label[length:, -1]
            share = share[:, None, None, None]
            mixed = share * images + (1 - share) * tf.gather(images, partner)
            return tf.concat([images, mixed], axis=0), label

        def flat(images: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
            size = batch_size * 2 * length
            images = tf.reshape(images, (size, crop_size, crop_size, 3))
            return images, {"segments": tf.reshape(label, (size, labels.shape[-1]))}

        segment = np.repeat(np.arange(len(self)), length)
        picture = np.searchsorted(rows, frames.reshape(-1))
        crops = tf.data.Dataset.from_tensor_slices((segment, picture))
        crops = crops.map(crop, num_parallel_calls=tf.data.AUTOTUNE).batch(length)
        data = tf.data.Dataset.zip(crops, tf.data.Dataset.from_tensor_slices(labels)).map(mix)
        return data.batch(batch_size, drop_remainder=True).map(flat).prefetch(2)

    def _labels(
        self, order: npt.NDArray[np.int64], random: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        """Makes the labels of an epoch, (n, 2F, A + 3), and draws what is mixed."""
        frames, unit, every = self.frames[order], self.unit[order], np.arange(len(order))
        (count, length), units = frames.shape, self._levels.shape[1]
        labels = np.full((count, 2 * length, units + 3), np.nan, np.float32)
        for end in (0, length - 1):
            labels[every, end, unit] = self._levels[frames[:, end], unit]
        own = np.tile(np.arange(length), (count, 1))
        labels[:, :, -3] = self._person[frames[:, :1]]
        labels[:, :, -2] = np.concatenate([own, random.permuted(own, axis=1)], axis=1)
        labels[:, :length, -1] = 1
        labels[:, length:, -1] = random.beta(_MIXING, _MIXING, (count, 1))
        return labels
