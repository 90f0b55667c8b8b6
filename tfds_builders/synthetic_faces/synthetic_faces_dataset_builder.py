"""Rendered faces with exact action unit intensities: what the shards hold, as a TFDS data set."""

from __future__ import annotations

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
from tfds_builders import schema
from tfds_builders.synthetic_faces import sampling, shards

_EMBEDDED = Path(__file__).parent / "tiny"
_PRESENT_FROM = 1.0
_SPLITS = {"train": range(7), "validation": range(7, 8), "test": range(8, 10)}


@dataclass(kw_only=True)
class SyntheticFacesConfig(tfds.core.BuilderConfig):  # type: ignore[misc]
    """Says how many faces to render, how large.

    Args:
        identities: Number of people.
        images: Pictures of each.
        crop_size: Side of the crops, px.
        seed: The same seed renders the same bytes.
        style: Of `shards.STYLES`.
        embedded: The shards come with the package and nothing is rendered.
    """

    identities: int
    images: int
    crop_size: int
    seed: int
    style: str = "wild"
    embedded: bool = False


_TINY = SyntheticFacesConfig(
    name="tiny",
    description="200 people, 2,000 crops; comes with the package.",
    identities=200,
    images=10,
    crop_size=128,
    seed=0,
    style="studio",
    embedded=True,
)


def _drawn(name: str, identities: int, seed: int, style: str, what: str) -> SyntheticFacesConfig:
    return SyntheticFacesConfig(
        name=name,
        description=f"{identities:,} people, {identities * 20:,} crops; {what}.",
        identities=identities,
        images=20,
        crop_size=128,
        seed=seed,
        style=style,
    )


def _full(name: str, identities: int) -> SyntheticFacesConfig:
    return _drawn(name, identities, 1, "wild", "rendered on this machine")


_DRAWN = [
    _full("full", 3000),
    _drawn("reserved", 200, 2, "reserved", "skins, hair, brows, lashes and teeth nobody else has"),
    _drawn("loose", 1000, 3, "loose", "half of the expressions as captured faces have them"),
    _drawn("lively", 1000, 4, "lively", "as loose, with busy mouths"),
]


class Builder(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
    """Reads rendered faces.

    `tiny` is embedded. `full` renders, and so does `full_N`, its first N people: `manual_dir` is
    the folder of the CC0 face rig (`rig.npz`, `rig.json`, `textures/`). What they render also
    holds the (468, 3) mesh that was found, crop px. Splits are by identity, 7 : 1 : 2; all of
    `reserved` is for testing.
    """

    VERSION = tfds.core.Version("1.2.0")
    RELEASE_NOTES = {
        "1.2.0": "`full` is as hard as real pictures, of 128 px, with the mesh that was found.",
        "1.1.0": "Says which units are seen; the same pictures.",
        "1.0.0": "First rendering.",
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = "rig.npz, rig.json and textures/."
    BUILDER_CONFIGS = [_TINY, *_DRAWN]

    processes = os.cpu_count() or 1

    @classmethod
    def config_named(cls, name: str) -> SyntheticFacesConfig:
        """Finds the sets that have a name, and makes `full_N`.

        Raises:
            DatasetError: If the name is none of these.
        """
        if match := re.fullmatch(r"full_([1-9]\d*)", name):
            return _full(name, int(match[1]))
        for config in cls.BUILDER_CONFIGS:
            if config.name == name:
                return config
        raise DatasetError(
            f"synthetic_faces has no config {name!r}. "
            f"Known: {', '.join(config.name for config in cls.BUILDER_CONFIGS)}, full_N."
        )

    def _info(self) -> tfds.core.DatasetInfo:
        config, aus = self.builder_config, AUSet(sampling.NUMBERS)
        return self.dataset_info_from_configs(
            features=schema.features(aus, config.crop_size, mesh=not config.embedded),
            metadata=schema.metadata(
                aus,
                config.crop_size,
                licence="CC0 1.0: rendered from a CC0 face rig; no real person is shown",
                description=config.description,
                presence_from=_PRESENT_FROM,
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
                processes=self.processes,
                keep_mesh=True,
                style=config.style,
            )
        splits = {"test": range(10)} if config.style == "reserved" else _SPLITS
        files = sorted(folder.glob("faces-*.npz"))
        if not files:
            raise DatasetError(f"There are no shards in {folder}; install tfau again.")
        return {
            split: self._generate_examples(files, subjects) for split, subjects in splits.items()
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
                level = aus.pool(intensity)
                key = f"{row['subject']:05d}-{row['frame']:03d}"
                example = {
                    "image": row["jpeg"],
                    "points": np.column_stack([row["points"], intensity]).astype(np.float32),
                    "presence": np.where(np.isnan(level), np.nan, level >= _PRESENT_FROM).astype(
                        np.float32
                    ),
                    "subject": f"{row['subject']:05d}",
                    "sequence": key,
                    "group": "",
                    "emotion": "",
                    "frame": row["frame"],
                }
                if "mesh" in row:
                    example["mesh"] = row["mesh"]
                yield key, example
