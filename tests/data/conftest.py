"""Prepared sets: the one that comes with the package, and others made here, as small as can be."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

import tfds_builders
from tfau.core.action_units import AUSet
from tfau.data.pipeline import PreparedSet


class Made(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes examples that say in every field which one they are.

    The picture of example n is of the even grey n, its points lie at x = n, y = 0, 1, 2 ... px,
    its person is n modulo 5 and its frame n.

    Args:
        aus: Units.
        crop_size: Side of the crops, px.
        splits: Split -> the examples in it.
        old: Without presence, group and emotion, as sets were once prepared.
        broken: Examples whose picture cannot be decoded.
        emotions: What examples show, over and over.
        name: Name of the set.
        **kwargs: For TFDS: `data_dir`, `file_format`.
    """

    VERSION = tfds.core.Version("1.2.3")

    def __init__(
        self,
        aus: AUSet,
        crop_size: int,
        splits: dict[str, range],
        *,
        old: bool = False,
        broken: Sequence[int] = (),
        emotions: Sequence[str] = ("",),
        name: str = "made",
        **kwargs: Any,
    ) -> None:
        self.name = name
        self.aus, self.crop_size, self.made = aus, crop_size, splits
        self.old, self.broken, self.emotions = old, broken, emotions
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(
                shape=(self.crop_size, self.crop_size, 3), encoding_format="jpeg"
            ),
            "points": tfds.features.Tensor(shape=(len(self.aus.point_names), 3), dtype=np.float32),
            "subject": tfds.features.Text(),
            "sequence": tfds.features.Text(),
            "frame": tfds.features.Scalar(np.int32),
        }
        metadata = {
            "action_units": list(self.aus.numbers),
            "crop_size": self.crop_size,
            "licence": "CC0",
            "description": f"Grey pictures of {self.name}.",
        }
        if not self.old:
            features["presence"] = tfds.features.Tensor(shape=(len(self.aus),), dtype=np.float32)
            features["group"] = features["emotion"] = tfds.features.Text()
            metadata["presence_from"] = 2.0
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict(metadata),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {name: self._generate_examples(rows) for name, rows in self.made.items()}

    def _generate_examples(self, rows: range) -> Iterator[tuple[str, dict[str, Any]]]:
        for n in rows:
            picture = np.full((self.crop_size, self.crop_size, 3), n, np.uint8)
            jpeg = tf.io.encode_jpeg(picture, quality=100).numpy()
            points = np.zeros((len(self.aus.point_names), 3), np.float32)
            points[:, 0], points[:, 1] = n, np.arange(len(points))
            points[:, 2] = n % 6
            points[self.aus.point_owner == 1, 2] = np.nan  # the second unit: presence alone
            example = {
                "image": io.BytesIO(b"no picture" if n in self.broken else jpeg),
                "points": points,
                "subject": f"person{n % 5}",
                "sequence": f"séance{n}",
                "frame": n,
            }
            if not self.old:
                coded = [float("nan"), float(n % 2), *[1.0] * len(self.aus)]
                example["presence"] = np.array(coded[: len(self.aus)], np.float32)
                example["group"] = "odd" if n % 2 else "even"
                example["emotion"] = self.emotions[n % len(self.emotions)]
            yield str(n), example


@pytest.fixture(autouse=True, scope="session")
def no_progress_bars():
    """Keeps the bars of TFDS out of what failing tests print."""
    tfds.disable_progress_bar()


@pytest.fixture
def make(tmp_path):
    """Returns the function that makes a set and gives its folder."""

    def build(*args: Any, **kwargs: Any) -> Path:
        made = Made(*args, data_dir=str(tmp_path), **kwargs)
        made.download_and_prepare()
        return Path(made.data_dir)

    return build


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory):
    """Folder of prepared sets, with `synthetic_faces/tiny` in it."""
    folder = tmp_path_factory.mktemp("tfds")
    tfds_builders.prepare("synthetic_faces/tiny", str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_dir):
    """`synthetic_faces/tiny`."""
    return PreparedSet(tfds_builders.prepare("synthetic_faces/tiny", str(tiny_dir)))
