"""A run folder as training leaves it, around a network that has really learnt something."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from export.__main__ import main
from export.quantize import RECIPES
from tfau.configs import TrainConfig
from tfau.core import AUSet
from tfau.models import backbones
from tfau.models.heatmap_net import AUHeatmapNet
from tfau.models.losses import HeatmapLoss

CONFIG = TrainConfig("blobs", "none", aus=(12, 25, 45), crop_size=64, decoder_filters=(16, 12, 12))


def blobs(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws every point as a spot of its own colour, as bright as the point is intense."""
    rng, aus = np.random.default_rng(seed), AUSet(CONFIG.aus)
    intensity = rng.uniform(0, 5, (count, 3)) * (rng.random((count, 3)) < 0.5)
    intensity = aus.spread(intensity, intensity)
    home = np.array([[14, 16], [32, 16], [50, 16], [14, 46], [32, 46], [50, 46]])
    place = home + rng.normal(0, 2, (count, 6, 2))
    along = np.exp(-(((place[..., None] - np.arange(64)) / 5) ** 2) / 2)  # (N, P, 2, S)
    colours = np.random.default_rng(0).choice([-1.0, 1.0], (6, 3))
    spots = np.einsum("np,npy,npx,pc->nyxc", intensity, along[:, :, 1], along[:, :, 0], colours)
    images = 128 + 20 * spots + rng.normal(0, 5, spots.shape)
    points = np.concatenate([place, intensity[..., None]], axis=-1).astype(np.float32)
    return np.clip(images, 0, 255).astype(np.uint8), points


def _evidence(calibration: np.ndarray) -> dict[str, np.ndarray]:
    """Makes what training leaves for the export: crops to calibrate, to choose and to test with."""
    arrays = {"images": calibration}
    for seed, part in ((2, "test"), (3, "held")):
        images, points = blobs(60, seed)
        points[:, 4:, 2] = np.nan  # the last unit was not coded
        people = np.repeat([f"{part} {person}" for person in range(12)], 5)
        arrays |= {
            f"{part}_images": images,
            f"{part}_points": points,
            f"{part}_subjects": people,
        }
    return arrays


@pytest.fixture(scope="session")
def evidence() -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    return _evidence


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras.utils.set_random_seed(0)
    network = AUHeatmapNet(backbones.tiny(64), 6, CONFIG.decoder_filters)
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            # Its statistics must be real before a parity figure means anything.
            layer.momentum = 0.9
    network.compile(
        keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(3e-3, 160)),
        loss={"heatmaps": HeatmapLoss(64)},
        jit_compile=False,
    )
    images, points = blobs(640, seed=1)
    network.fit(images.astype(np.float32), {"heatmaps": points}, batch_size=32, epochs=8, verbose=0)

    folder = tmp_path_factory.mktemp("runs") / CONFIG.name
    folder.mkdir()
    (folder / "config.json").write_text(CONFIG.to_json())
    network.save(folder / "model.keras")
    np.savez(folder / "calibration.npz", **_evidence(images[:64]))
    (folder / "provenance.json").write_text(json.dumps({"dataset": "spots", "licence": "CC0"}))
    return folder


@pytest.fixture
def broken_run(run_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copies the run with some of its files replaced, or left out where None is given."""

    def make(**files: bytes | None) -> Path:
        folder = tmp_path / "broken"
        shutil.copytree(run_folder, folder)
        for name, content in files.items():
            path = folder / name.replace("_", ".")
            path.unlink()
            if content is not None:
                path.write_bytes(content)
        return folder

    return make


@pytest.fixture(scope="session")
def exported(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "new"
    main([str(run_folder), "-o", str(out), "--recipes", ",".join(RECIPES)])
    return out
