"""Rendered faces with exact action unit intensities: what the shards hold, as a TFDS data set."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tfau.core.action_units import AUSet
from tfau.core.errors import DatasetError
from tfau.core.faces import MESH_VERTICES
from tfds_builders.synthetic_faces import sampling, shards

_EMBEDDED = Path(__file__).parent / "tiny"
_SPLITS = {"train": range(7), "validation": range(7, 8), "test": range(8, 10)}


@dataclass(kw_only=True)
class SyntheticFacesConfig(tfds.core.BuilderConfig):  # type: ignore[misc]
    """Says how many faces to render, how large.

    Args:
        identities: Number of people.
        images: Pictures of each.
        crop_size: Side of the crops, px.
        seed: The same seed renders the same bytes.
        embedded: The shards come with the package and nothing is rendered.
    """

    identities: int
    images: int
    crop_size: int
    seed: int
    embedded: bool = False


_TINY = SyntheticFacesConfig(
    name="tiny",
    description="200 people, 2,000 crops; comes with the package.",
    identities=200,
    images=10,
    crop_size=128,
    seed=0,
    embedded=True,
)


def _full(name: str, identities: int) -> SyntheticFacesConfig:
    return SyntheticFacesConfig(
        name=name,
        description=f"{identities:,} people, {identities * 20:,} crops, rendered on this machine.",
        identities=identities,
        images=20,
        crop_size=256,
        seed=1,
    )


def config_named(name: str) -> SyntheticFacesConfig:
    """Finds `tiny` and `full`, and makes `full_N`.

    Raises:
        DatasetError: If the name is none of these.
    """
    if match := re.fullmatch(r"full_([1-9]\d*)", name):
        return _full(name, int(match[1]))
    for config in Builder.BUILDER_CONFIGS:
        if config.name == name:
            return config
    raise DatasetError(f"synthetic_faces has no config {name!r}. Known: tiny, full, full_N.")


class Builder(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
    """Reads rendered faces.

    `tiny` is embedded. `full` renders, and so does `full_N`, its first N people: `manual_dir` is
    the folder of the CC0 face rig (`rig.npz`, `rig.json`, `textures/`). What they render also
    holds the (468, 3) mesh, crop px. Splits are by identity, 7 : 1 : 2.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First rendering."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = "rig.npz, rig.json and textures/."
    BUILDER_CONFIGS = [_TINY, _full("full", 3000)]

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        aus = AUSet(sampling.NUMBERS)
        features = {
            "image": tfds.features.Image(
                shape=(config.crop_size, config.crop_size, 3), encoding_format="jpeg"
            ),
            "points": tfds.features.Tensor(shape=(len(aus.point_names), 3), dtype=np.float32),
            "subject": tfds.features.Text(),
            "sequence": tfds.features.Text(),
            "frame": tfds.features.Scalar(np.int32),
        }
        if not config.embedded:
            features["mesh"] = tfds.features.Tensor(shape=(MESH_VERTICES, 3), dtype=np.float32)
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict(
                {
                    "action_units": list(aus.numbers),
                    "crop_size": config.crop_size,
                    "licence": "CC0 1.0: rendered from a CC0 face rig; no real person is shown",
                    "description": config.description,
                }
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        config = self.builder_config
        if config.embedded:
            folder = _EMBEDDED
        else:
            # Beside the prepared sets, so that a stopped rendering goes on where it was.
            folder = Path(self.data_dir).parent / f"shards-{config.seed}-{config.crop_size}"
            try:
                rig = Path(dl_manager.manual_dir)
            except AssertionError:  # TFDS's way to say that there is none
                raise DatasetError(
                    f"synthetic_faces/{config.name} needs `--manual-dir`, the folder of the face "
                    f"rig: {self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
                ) from None
            shards.render_shards(
                rig,
                folder,
                identities=config.identities,
                images_per_identity=config.images,
                crop_size=config.crop_size,
                seed=config.seed,
                processes=os.cpu_count() or 1,
                keep_mesh=True,
            )
        files = sorted(folder.glob("*.npz"))
        if not files:
            raise DatasetError(f"There are no shards in {folder}; install tfau again.")
        return {
            split: self._generate_examples(files, subjects) for split, subjects in _SPLITS.items()
        }

    def _generate_examples(
        self, files: list[Path], subjects: range
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for file in files:
            for row in shards.read_shard(file):
                if row["subject"] % 10 not in subjects:
                    continue
                aus = AUSet(row["numbers"])
                intensity = aus.spread(row["left"], row["right"])
                points = np.concatenate([row["points"], intensity[:, None]], axis=1)
                key = f"{row['subject']:05d}-{row['frame']:03d}"
                example = {
                    "image": io.BytesIO(row["jpeg"]),
                    "points": points.astype(np.float32),
                    "subject": f"{row['subject']:05d}",
                    "sequence": key,
                    "frame": row["frame"],
                }
                if "mesh" in row:
                    example["mesh"] = row["mesh"]
                yield key, example
