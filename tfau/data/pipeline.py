"""Reads prepared data sets, one or several mixed, whatever builders made them.

What is known of each example, its labels, is read first and without any picture. On them it is
decided who trains and who tests; a choice is a vector over their rows, and `batches` delivers it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_datasets as tfds

from tfau.core.action_units import AUSet
from tfau.core.errors import DatasetError
from tfau.core.examples import EMOTIONS
from tfau.data.augmentation import Augmentation

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.bool_] | npt.NDArray[np.integer[Any]]
"""(N,) over the rows of `Labels`: which, or how often (0 = left out, 2 = twice)."""

_FEATURES = ("image", "points", "subject", "sequence", "frame")
_SPLITS = ("train", "validation", "test")  # in this order, then others by name
_SHUFFLED = 10_000  # examples that wait for their turn, still as JPEG: some 100 MB
_PICTURES, _NAMES = ("image",), ("subject", "sequence", "group", "frame")
_CHUNK = 256  # records that are parsed at once


@dataclass(frozen=True, eq=False)
class Labels:
    """Holds what is known of N examples, in the order in which they are read.

    Args:
        dataset: (N,) full names, e.g. `synthetic_faces/tiny/1.0.0`.
        split: (N,) parts in which their makers deliver them.
        subject: (N,) who is seen; a name is unique in its data set only.
        sequence: (N,) recordings.
        group: (N,) kinds of person; empty if unknown.
        emotion: (N,) emotions; empty if not coded.
        frame: (N,) numbers in the recording, as the owners count.
        intensity: (N, A) float32, 0-5; NaN = not coded.
        presence: (N, A) float32, 1 or 0; NaN = not coded.
    """

    dataset: npt.NDArray[np.str_]
    split: npt.NDArray[np.str_]
    subject: npt.NDArray[np.str_]
    sequence: npt.NDArray[np.str_]
    group: npt.NDArray[np.str_]
    emotion: npt.NDArray[np.str_]
    frame: npt.NDArray[np.int64]
    intensity: npt.NDArray[np.float32]
    presence: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.dataset)


def balance(
    labels: Labels,
    rows: Rows,
    share: float,
    *,
    seed: int,
    columns: Sequence[int] | None = None,
) -> npt.NDArray[np.int64]:
    """Repeats examples that show rare units.

    A unit that is active (present, or of intensity 1 or more) in a part f of the chosen examples
    asks for a factor max(1, sqrt(share / f)); an example takes the largest factor of its active
    units. The square root stops half way: a unit in 1 % of the examples, with a share of 4 %, is
    repeated twice and not four times. What remains after the whole number becomes one more
    repetition by chance, so that factors hold on average.

    Args:
        labels: What is known of N examples.
        rows: (N,) the choice to balance.
        share: Part of the examples, 0 to 1, below which a unit counts as rare. 0 changes nothing.
        seed: Decides the rounding.
        columns: Columns of the units that count; None = all.

    Returns:
        (N,) how often to show each example; 0 where it was not chosen, else at least as often.

    References:
        Gupta, Dollar and Girshick, "LVIS: A Dataset for Large Vocabulary Instance Segmentation",
        CVPR 2019, https://arxiv.org/abs/1908.03195, section 5: repeat factor sampling.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"`share` must lie in 0-1. Received: {share}.")
    chosen = np.asarray(rows).astype(np.int64)
    active = (labels.presence == 1) | (labels.intensity >= 1)  # false where not coded
    if columns is not None:
        active = active[:, list(columns)]
    part = chosen @ active / max(int(chosen.sum()), 1)  # (A,)
    factor = np.maximum(1.0, np.sqrt(share / np.where(part > 0, part, 1.0)))
    wanted = chosen * np.where(active, factor, 1.0).max(axis=1, initial=1.0)
    counts: npt.NDArray[np.int64] = wanted.astype(np.int64)
    counts += np.random.default_rng(seed).random(len(counts)) < wanted - counts
    return counts


class PreparedSet:
    """One or several prepared TFDS folders of face crops, read as one.

    Args:
        *folders: What `tfds_builders.prepare` returns.

    Attributes:
        name: Full name; those of several sets are joined with a `+`.
        licence: Licence; several are joined with a semicolon.
        description: One sentence per set.
        crop_size: Side of the crops as they lie there, px; of several sets, the largest.
        aus: Units that at least one set has, those of the first set first.
        presence_from: For each set, the intensity from which a unit counts as present; None where
            presence was coded as such, or it is not known.

    Raises:
        DatasetError: If a folder is not such a set.
        ValueError: If there is no folder, or a set comes twice.
    """

    def __init__(self, *folders: str | os.PathLike[str]) -> None:
        self._parts = [_Part(Path(folder)) for folder in folders]
        names = [part.name for part in self._parts]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"`folders` must be different data sets. Received: {names or 'none'}.")
        self.name = "+".join(names)
        self.licence = "; ".join(dict.fromkeys(part.licence for part in self._parts))
        self.description = " ".join(dict.fromkeys(part.description for part in self._parts))
        self.crop_size = max(part.crop_size for part in self._parts)
        self.aus = AUSet(dict.fromkeys(n for part in self._parts for n in part.aus.numbers))
        self.presence_from = tuple(part.presence_from for part in self._parts)

    def __len__(self) -> int:
        """Returns the number N of examples."""
        return sum(sum(part.splits.values()) for part in self._parts)

    @cached_property
    def labels(self) -> Labels:
        """What is known of each example, read once, without pictures."""
        tables = [part.labels(self.aus) for part in self._parts]
        return Labels(**{name: np.concatenate([t[name] for t in tables]) for name in tables[0]})

    def count(self, rows: Rows) -> int:
        """Returns the number of examples of a choice, repetitions included."""
        return int(self._counts(rows).sum())

    def batches(
        self,
        rows: Rows,
        aus: AUSet,
        crop_size: int,
        batch_size: int,
        *,
        augmentation: Augmentation | None = None,
        seed: int | None = None,
        cache: bool = False,
    ) -> tf.data.Dataset:
        """Streams a choice of examples. The pictures of the others are not decoded.

        Args:
            rows: (N,) which examples, or how often each.
            aus: Units to learn; each must be among those of one of the sets.
            crop_size: Side S of the crops that come out, px.
            batch_size: Crops to a batch.
            augmentation: Applied to each crop, differently each time; needs a seed.
            seed: Shuffles, mixes the sets evenly, drops the incomplete last batch, and makes the
                order and every change repeatable, bit for bit. (TensorFlow adds its own seed, if
                one is set, to the order.) None: in order, everything.
            cache: Keep the examples in memory, still as JPEG, for this call and later ones.

        Returns:
            Batches of `(images, labels)`: (B, S, S, 3) float32 RGB in [0, 255], and a dict of
            `points` (B, P, 3), `presence` (B, A) and `emotion` (B, 7), all float32. Where a set
            lacks a unit, its points and its presence are NaN. The emotion is 1 at one of
            `EMOTIONS` and 0 at the others; NaN where none of them was coded, as in a neutral face.
        """
        if augmentation is not None and seed is None:
            raise ValueError("`augmentation` must come with a `seed`. Received: seed=None.")
        aus.points_of(self.aus)  # an unknown unit is refused, with a sentence
        counts, streams, lengths, start = self._counts(rows), [], [], 0
        for part in self._parts:
            mine = counts[start : (start := start + sum(part.splits.values()))]
            if mine.any():
                streams.append(part.stream(mine, aus, crop_size, cache=cache))
                lengths.append(int(mine.sum()))
        total = sum(lengths)
        if not total:
            raise ValueError("`rows` must choose at least one example. Received: none.")

        turns = np.repeat(np.arange(len(streams)), lengths) if seed is None else _evenly(lengths)
        data = tf.data.Dataset.choose_from_datasets(
            streams, tf.data.Dataset.from_tensor_slices(turns)
        )
        if seed is not None:
            waiting = min(total, _SHUFFLED)
            data = data.shuffle(waiting, seed=seed, reshuffle_each_iteration=False)

        def finish(index: tf.Tensor, example: dict[str, tf.Tensor]) -> tuple[tf.Tensor, Any]:
            """Decodes, and changes by the place in the epoch: repetitions differ."""
            example = dict(example)
            image, points = decode(example.pop("image"), crop_size), example["points"]
            if augmentation is not None:
                place = tf.stack([tf.cast(seed, tf.int64), index])
                image, points = augmentation(image, points, aus, place)
            return image, example | {"points": points}

        data = data.enumerate().map(finish, num_parallel_calls=tf.data.AUTOTUNE)
        whole = seed is not None
        data = data.batch(batch_size, drop_remainder=whole)
        steps = total // batch_size if whole else -(-total // batch_size)
        return data.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)

    def few(self, rows: Rows, count: int) -> npt.NDArray[np.bool_]:
        """Takes evenly spaced examples of a choice: (N,); all, where there are no more."""
        chosen = np.flatnonzero(self._counts(rows))
        spaced = np.linspace(0, max(len(chosen) - 1, 0), min(count, len(chosen)))
        few = np.zeros(len(self), bool)
        few[chosen[spaced.round().astype(int)]] = True
        return few

    def sample(
        self, rows: Rows, aus: AUSet, crop_size: int, count: int
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Reads evenly spaced examples of a choice into memory.

        Args:
            rows: As in `batches`; how often an example was chosen does not matter.
            aus: As in `batches`.
            crop_size: As in `batches`.
            count: Number of examples; all, where there are no more.

        Returns:
            (n, S, S, 3) uint8 crops and (n, P, 3) float32 points.
        """
        few = self.few(rows, count)
        batches = self.batches(few, aus, crop_size, 64).as_numpy_iterator()
        images, labels = zip(*batches, strict=True)
        points = np.concatenate([label["points"] for label in labels])
        return np.rint(np.concatenate(images)).astype(np.uint8), points

    def pictures(self, rows: Rows) -> npt.NDArray[np.object_]:
        """Reads the crops of a choice into memory, as they lie there.

        Args:
            rows: As in `batches`.

        Returns:
            (n,) JPEG files, in the order of the rows.
        """
        counts, start, found = self._counts(rows), 0, []
        for part in self._parts:
            mine = counts[start : (start := start + sum(part.splits.values()))]
            if mine.any():
                stream = part.stream(mine, part.aus, part.crop_size, cache=False)
                found += [example["image"] for example in stream.as_numpy_iterator()]
        return np.array(found, object)

    def shapes(self, rows: Rows, aus: AUSet) -> tuple[Floats, Floats]:
        """Reads the geometry of a choice into memory.

        Args:
            rows: As in `batches`.
            aus: Units of the points; all sets must have them.

        Returns:
            (n, 468, 3) meshes, px of the crops as they lie there, and (n, P) intensities.

        Raises:
            ValueError: If a set has no meshes, or lacks a unit.
        """
        counts, start, meshes, levels = self._counts(rows), 0, [], []
        for part in self._parts:
            mine = counts[start : (start := start + sum(part.splits.values()))]
            if mine.any():
                mesh, points = part.shapes()
                meshes.append(mesh[mine > 0])
                levels.append(points[mine > 0][:, aus.points_of(part.aus), 2])
        return np.concatenate(meshes), np.concatenate(levels)

    def _counts(self, rows: Rows) -> npt.NDArray[np.int64]:
        """Returns a choice as counts, or says what is wrong with it."""
        if rows.shape != (len(self),) or rows.dtype.kind not in "biu" or (rows < 0).any():
            raise ValueError(
                f"`rows` must be ({len(self)},) of bool or counts. Received: {rows.shape} of "
                f"{rows.dtype}{', some negative' if rows.dtype.kind == 'i' else ''}."
            )
        counts: npt.NDArray[np.int64] = rows.astype(np.int64)
        return counts


class _Part:
    """One prepared folder.

    Records are read as they lie in the files, and parsed by the hundreds: that is eight times as
    fast as one by one, as TFDS does it, and leaves alone what is not asked for.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self._builder = tfds.builder_from_directory(str(folder))
            info = self._builder.info
            metadata = dict(info.metadata or {})
            self.aus = AUSet(metadata["action_units"])
            self.crop_size = int(metadata["crop_size"])
            self._spec: dict[str, Any] = info.features.tf_example_spec
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise DatasetError(f"{folder} is not a prepared data set of tfau: {error}.") from None
        if missing := [name for name in _FEATURES if name not in self._spec]:
            raise DatasetError(f"{folder} is not a prepared data set of tfau: no {missing}.")
        self.name = str(info.full_name)
        self.licence = str(metadata.get("licence", "unknown"))
        self.description = str(metadata.get("description", ""))
        level = metadata.get("presence_from")
        self.presence_from = None if level is None else float(level)
        order = [*_SPLITS, *sorted(set(info.splits) - set(_SPLITS))]
        sizes = {name: int(info.splits[name].num_examples) for name in order if name in info.splits}
        self.splits = {name: size for name, size in sizes.items() if size}
        if not self.splits:
            raise DatasetError(f"{folder} holds no example; prepare it again.")
        self._kept: dict[str, tf.data.Dataset] = {}

    def labels(self, aus: AUSet) -> dict[str, npt.NDArray[Any]]:
        """Reads the fields of `Labels`, in columns of the given units."""
        parsed = {name: self._read(name, _NAMES) for name in self.splits}
        size = sum(self.splits.values())

        def column(key: str) -> npt.NDArray[Any]:
            return np.concatenate([parsed[name][key] for name in self.splits])

        def text(key: str) -> npt.NDArray[np.str_]:
            known = key in self._spec
            return np.char.decode(column(key).astype(bytes)) if known else np.full(size, "")

        def spread(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
            wide = np.full((size, len(aus)), np.nan, np.float32)
            wide[:, [aus.index(number) for number in self.aus.numbers]] = values
            return wide

        return {
            "dataset": np.full(size, self.name),
            "split": np.repeat(list(self.splits), list(self.splits.values())),
            "subject": text("subject"),
            "sequence": text("sequence"),
            "group": text("group"),
            "emotion": text("emotion"),
            "frame": column("frame").astype(np.int64),
            "intensity": spread(self.aus.pool(column("points")[..., 2])),
            "presence": spread(column("presence")),
        }

    def shapes(self) -> tuple[Floats, Floats]:
        """Reads the (n, 468, 3) meshes and the (n, P, 3) points of all splits."""
        if "mesh" not in self._spec:
            raise ValueError(f"{self.name} has no meshes: they were not kept when it was prepared.")
        parsed = [self._read(split, ("mesh",)) for split in self.splits]
        meshes, points = (np.concatenate([p[name] for p in parsed]) for name in ("mesh", "points"))
        return meshes, points

    def stream(
        self, counts: npt.NDArray[np.int64], aus: AUSet, crop_size: int, *, cache: bool
    ) -> tf.data.Dataset:
        """Streams chosen examples, in order, pictures still as JPEG.

        Args:
            counts: (n,) how often each.
            aus: Units of the points and the presence that come out.
            crop_size: Side of the crops that the points are in, px.
            cache: Read from memory.

        Returns:
            Dicts of `image`, `points` (P, 3), `presence` (A,) and `emotion` (7,).
        """
        arrange, streams, start = self._arranger(aus, crop_size), [], 0
        for split, size in self.splits.items():
            mine = counts[start : (start := start + size)]
            if not mine.any():
                continue
            if cache and split not in self._kept:
                table = tf.data.Dataset.from_tensor_slices(self._read(split, _PICTURES))
                self._kept[split] = table.batch(_CHUNK)
            chunks = self._kept[split] if cache else self._chunks(split, _PICTURES)
            often = tf.data.Dataset.from_tensor_slices(mine).batch(_CHUNK)
            chosen = tf.data.Dataset.zip(chunks, often).map(arrange).unbatch()
            streams.append(chosen)
        data = streams[0]
        for other in streams[1:]:
            data = data.concatenate(other)
        return data

    def _arranger(
        self, aus: AUSet, crop_size: int
    ) -> Callable[[dict[str, tf.Tensor], tf.Tensor], dict[str, tf.Tensor]]:
        """Makes the function that turns a chunk as it lies there into examples as asked for."""
        scale = crop_size / self.crop_size
        # What is not there is looked up in one more column, which is NaN.
        points_at = {name: column for column, name in enumerate((*self.aus.point_names, ""))}
        units_at = {number: column for column, number in enumerate((*self.aus.numbers, 0))}
        where = [points_at.get(name, points_at[""]) for name in aus.point_names]
        which = [units_at.get(number, units_at[0]) for number in aus.numbers]

        def arrange(chunk: dict[str, tf.Tensor], counts: tf.Tensor) -> dict[str, tf.Tensor]:
            chunk = {name: tf.repeat(value, counts, axis=0) for name, value in chunk.items()}
            place = (chunk["points"][..., :2] + 0.5) * scale - 0.5  # pixel centres are whole
            points = tf.concat([place, chunk["points"][..., 2:]], axis=-1)
            nan = float("nan")
            points = tf.pad(points, [[0, 0], [0, 1], [0, 0]], constant_values=nan)
            presence = tf.pad(chunk["presence"], [[0, 0], [0, 1]], constant_values=nan)
            emotion = tf.cast(chunk["emotion"][:, None] == tf.constant(EMOTIONS), tf.float32)
            coded = tf.reduce_any(emotion > 0, axis=1, keepdims=True)
            return {
                "image": chunk["image"],
                "points": tf.gather(points, where, axis=1),
                "presence": tf.gather(presence, which, axis=1),
                "emotion": tf.where(coded, emotion, nan),
            }

        return arrange

    def _chunks(self, split: str, names: Sequence[str]) -> tf.data.Dataset:
        """Reads and parses some features of a split, in order; pictures stay JPEG."""
        wanted = (*names, "points", "presence", "emotion")
        spec = {name: self._spec[name] for name in wanted if name in self._spec}

        def parse(records: tf.Tensor) -> dict[str, tf.Tensor]:
            chunk: dict[str, tf.Tensor] = tf.io.parse_example(records, spec)
            # What earlier versions did not prepare.
            size = tf.shape(records)[0]
            chunk.setdefault("presence", tf.fill([size, len(self.aus)], float("nan")))
            chunk.setdefault("emotion", tf.fill([size], ""))
            return chunk

        return self._records(split).batch(_CHUNK).map(parse, num_parallel_calls=2)

    def _records(self, split: str) -> tf.data.Dataset:
        """Reads serialised examples in the order of the files."""
        info = self._builder.info
        if info.file_format == tfds.core.FileFormat.TFRECORD:
            return tf.data.TFRecordDataset([str(path) for path in info.splits[split].filepaths])
        source = self._builder.as_data_source(
            split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
        )
        return tf.data.Dataset.from_generator(
            lambda: iter(source), output_signature=tf.TensorSpec((), tf.string)
        )

    def _read(self, split: str, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        """Reads a split into memory."""
        try:
            chunks = list(self._chunks(split, names).as_numpy_iterator())
        except (tf.errors.OpError, OSError, NotImplementedError) as error:
            raise DatasetError(f"{self.folder} cannot be read: {error}.") from None
        size = sum(len(chunk["points"]) for chunk in chunks)
        if size != self.splits[split]:
            raise DatasetError(
                f"{self.folder} holds {size} examples of the split {split} and should hold "
                f"{self.splits[split]}; prepare it again."
            )
        return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def decode(jpeg: tf.Tensor, crop_size: int) -> tf.Tensor:
    """Decodes a crop, and resizes it if it has another size: (S, S, 3) float32."""
    image = tf.cast(tf.io.decode_jpeg(jpeg, channels=3), tf.float32)
    if tf.shape(image)[0] != crop_size:
        image = tf.image.resize(image, (crop_size, crop_size), antialias=True)
    return tf.ensure_shape(image, (crop_size, crop_size, 3))


def _evenly(lengths: Sequence[int]) -> npt.NDArray[np.int64]:
    """Says whose turn it is, so that streams of these lengths all end together."""
    places = np.concatenate([(np.arange(length) + 0.5) / length for length in lengths])
    owner = np.repeat(np.arange(len(lengths)), lengths)
    return owner[np.argsort(places, kind="stable")]
