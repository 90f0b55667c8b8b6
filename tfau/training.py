"""One training run: its folder, its epochs, its report.

A run folder holds `config.json`, `metrics.jsonl` (a line per epoch), `last.keras` (weights and
optimiser after the last complete epoch), `model.keras` (the best epoch on the validation people),
and at the end `provenance.json`, `calibration.npz` (what the exporter calibrates and verifies
with), `report.md` and pictures.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfau import evaluate, plots
from tfau.configs import TrainConfig
from tfau.core.action_units import AUSet
from tfau.core.agreement import score
from tfau.core.files import whole_file
from tfau.core.heatmaps import HeatmapCodec
from tfau.data.augmentation import Augmentation
from tfau.data.pipeline import PreparedSet
from tfau.models import heatmap_net
from tfau.models.backbones import BACKBONES
from tfau.models.losses import HeatmapLoss

CALIBRATION_CROPS = 256
VERIFICATION_CROPS = 512


@dataclass(frozen=True)
class Run:
    """A run folder and the config it was made with.

    Args:
        folder: `runs/NAME`.
        config: What `config.json` says.
    """

    folder: Path
    config: TrainConfig

    @classmethod
    def create(cls, config: TrainConfig, runs_dir: Path, *, resume: bool) -> Run:
        """Names the folder of a new run, or finds the one to continue. Writes nothing yet.

        Raises:
            ValueError: If the config is off, or the folder is there and `resume` is not asked, or
                is not there and it is, or was made with another config.
        """
        config.check()
        if config.backbone not in BACKBONES:
            known = ", ".join(BACKBONES)
            raise ValueError(f"There is no backbone {config.backbone!r}. Known: {known}.")
        folder = runs_dir / config.name
        if resume:
            run = cls.open(folder)
            if run.config != config:
                raise ValueError(
                    f"{folder} was made with other settings; repeat them, or choose another --name."
                )
            return run
        if (folder / "config.json").exists():
            raise ValueError(
                f"{folder} exists; continue it with --resume, or choose another --name."
            )
        return cls(folder, config)

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Opens an existing run; ValueError if there is none."""
        if not (folder / "config.json").is_file():
            raise ValueError(f"There is no run in {folder}; `python -m tfau.train` makes one.")
        return cls(folder, TrainConfig.read(folder / "config.json"))

    @cached_property
    def aus(self) -> AUSet:
        """Units of the run, in output order."""
        return AUSet(self.config.aus)

    @cached_property
    def codec(self) -> HeatmapCodec:
        """Reads the maps of the run's network."""
        return HeatmapCodec(self.config.crop_size, sigma=self.config.sigma)

    def data(self, data_dir: str | None = None, manual_dir: str | None = None) -> PreparedSet:
        """Prepares the data set if need be, and opens it."""
        import tfds_builders

        return PreparedSet(tfds_builders.prepare(self.config.dataset, data_dir, manual_dir))

    def model(self, name: str = "model.keras") -> keras.Model:
        """Loads a checkpoint; ValueError if it is missing or damaged."""
        path = self.folder / name
        if not path.is_file():
            raise ValueError(f"{self.folder} has no {name}: no epoch was completed there.")
        try:
            return keras.saving.load_model(path)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} cannot be read: {error}.") from None

    def train(
        self, data: PreparedSet, on_batch: Callable[[int, float], None], log: Callable[[str], None]
    ) -> None:
        """Trains to the last epoch of the config, from wherever the folder stands.

        Everything random is drawn from the config's seed and the number of the epoch, and weights
        and optimiser are saved together, so a run that was stopped anywhere and resumed gives
        the same network as one that was not.

        Args:
            data: The prepared set.
            on_batch: Called with the number of batches done in this epoch and the mean loss.
            log: Called with a line of text after each epoch.
        """
        config = self.config
        steps = self.steps(data)
        self.aus.points_of(data.aus)  # before anything is written: the set must know our units
        keras.utils.set_random_seed(config.seed)
        tf.config.experimental.enable_tensor_float_32_execution(False)  # float32 on any GPU
        resumed = (self.folder / "last.keras").exists()
        model = self.model("last.keras") if resumed else self._build(steps)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write("config.json", config.to_json())
        done = int(model.optimizer.iterations.numpy()) // steps
        history = self.history()[:done]

        for epoch in range(done + 1, config.epochs + 1):
            started = time.monotonic()
            batches = data.batches(
                "train",
                self.aus,
                config.crop_size,
                config.batch_size,
                augmentation=Augmentation(),
                seed=config.seed * 100_003 + epoch,
            )
            fit = model.fit(
                batches.map(lambda image, point: (image, {"heatmaps": point})),
                shuffle=False,  # the batches come shuffled
                verbose=0,
                callbacks=[_OnBatch(on_batch)],
            )
            pair = evaluate.estimate(model, data, "validation", self.aus, self.codec)
            mean = score(self.aus, *pair)["mean"]
            row = {"epoch": epoch, "loss": fit.history["loss"][0], **mean}
            history.append(row)
            if not any(earlier["ICC"] > row["ICC"] for earlier in history):
                self._save(model, "model.keras")
            self._write("metrics.jsonl", "".join(json.dumps(row) + "\n" for row in history))
            self._save(model, "last.keras")  # last: only now the epoch is done
            log(
                f"epoch {epoch}/{config.epochs}  loss {row['loss']:.4f}  "
                f"validation ICC {row['ICC']:.3f}  MAE {row['MAE']:.3f}  "
                f"{time.monotonic() - started:.0f} s"
            )

    def finish(self, data: PreparedSet) -> list[list[str]]:
        """Scores the best epoch on the test people and writes the report.

        Returns:
            The table, as `evaluate.table` makes it.
        """
        config, model = self.config, self.model()
        provenance = {
            "dataset": data.name,
            "description": data.description,
            "licence": data.licence,
            "trained_with": {"keras": keras.__version__, "tensorflow": tf.__version__},
        }
        self._write("provenance.json", json.dumps(provenance, indent=1) + "\n")
        calibration, _ = data.sample("train", self.aus, config.crop_size, CALIBRATION_CROPS)
        test, points = data.sample("test", self.aus, config.crop_size, VERIFICATION_CROPS)
        with whole_file(self.folder / "calibration.npz") as path:
            np.savez_compressed(path, images=calibration, test_images=test, test_points=points)

        scores, constant = evaluate.evaluate(model, data, "test", self.aus, self.codec)
        rows = evaluate.table(scores, constant)
        plots.curves(self.history()).savefig(self.folder / "curves.png", dpi=120)
        sheet = plots.sheet(model, self.aus, self.codec, test, points)
        sheet.savefig(self.folder / "sheet.png", dpi=110)
        self._write(
            "report.md",
            f"# {config.name}\n\n{data.name}: {data.description} Scored on the "
            f"{data.count('test')} crops of the test people, whom neither training nor the choice "
            f"of the epoch has seen.\n\n{evaluate.markdown(rows)}\n\nA constant scores ICC 0.\n\n"
            "![curves](curves.png)\n\n![crops and maps](sheet.png)\n",
        )
        return rows

    def steps(self, data: PreparedSet) -> int:
        """Returns the steps of an epoch."""
        steps = data.count("train") // self.config.batch_size
        if steps < 1:
            raise ValueError(
                f"`batch_size` must be at most {data.count('train')}, the size of the training "
                f"split. Received: {self.config.batch_size}."
            )
        return steps

    def history(self) -> list[dict[str, float]]:
        """Reads `metrics.jsonl`."""
        path = self.folder / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _build(self, steps: int) -> keras.Model:
        config = self.config
        options: dict[str, Any] = {"weights": config.weights} if config.weights else {}
        try:
            backbone = BACKBONES[config.backbone](config.crop_size, **options)
        except Exception as error:  # what Keras raises when a download fails
            if not config.weights:
                raise
            raise ValueError(
                f"`--backbone {config.backbone}` cannot be built with --weights "
                f"{config.weights}: {error}"
            ) from None
        model = heatmap_net.AUHeatmapNet(
            backbone,
            len(self.aus.point_names),
            decoder_filters=config.decoder_filters,
            neighbors=config.neighbors,
            name=config.name,
        )
        rate = keras.optimizers.schedules.CosineDecay(
            0.0,
            decay_steps=steps * max(config.epochs - 1, 1),
            warmup_target=config.learning_rate,
            warmup_steps=steps,
        )
        model.compile(
            keras.optimizers.AdamW(rate, weight_decay=config.weight_decay, clipnorm=1.0),
            loss={
                "heatmaps": HeatmapLoss(
                    config.crop_size,
                    sigma=config.sigma,
                    intensity_weight=config.intensity_weight,
                )
            },
            # XLA makes training several times slower on a CPU.
            jit_compile="auto" if tf.config.list_physical_devices("GPU") else False,
        )
        return model

    def _save(self, model: keras.Model, name: str) -> None:
        with whole_file(self.folder / name) as path:
            model.save(path)

    def _write(self, name: str, text: str) -> None:
        with whole_file(self.folder / name) as path:
            path.write_text(text)


class _OnBatch(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells how far the epoch is."""

    def __init__(self, report: Callable[[int, float], None]) -> None:
        super().__init__()
        self.report = report

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Passes the news on."""
        self.report(batch + 1, (logs or {}).get("loss", float("nan")))
