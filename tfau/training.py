"""One training run: its folder, its epochs, its report.

A run folder holds `config.json`, `provenance.json` (which data), `metrics.jsonl` (a line per
epoch), `last.keras` (weights and optimiser after the last complete epoch), `model.keras` (the best
epoch on the validation people), and at the end `calibration.npz` (what the exporter calibrates and
verifies with), `predictions.parquet` with its tables and pictures, and `report.md`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfau import evaluate, plots, protocols, scoring
from tfau.configs import TrainConfig
from tfau.core.action_units import AUSet
from tfau.core.agreement import auc, f1, score
from tfau.core.files import whole_file
from tfau.core.heatmaps import HeatmapCodec
from tfau.data.augmentation import Augmentation
from tfau.data.pipeline import PreparedSet, balance
from tfau.models import backbones, networks

CALIBRATION_CROPS = 256
VERIFICATION_CROPS = 512
BATCH_LABELS = ("points", "presence")
"""What `PreparedSet.batches` tells of each crop."""
CHOSEN_BY = {"intensity": ("ICC", "MAE"), "presence": ("F1", "AUC")}
"""Of what a network estimates: the score that chooses the epoch, and another that is shown."""


@dataclass(frozen=True)
class Run:
    """A run folder and the config it was made with.

    Args:
        folder: `runs/NAME`.
        config: What `config.json` says.
    """

    folder: Path
    config: TrainConfig

    @staticmethod
    def check(config: TrainConfig) -> None:
        """Checks what can be checked of a config without data; ValueError if something is off."""
        config.check()
        backbones.named(config.backbone)
        networks.check(config.network, config)
        wanted = set(networks.NETWORKS[config.network].learns.values())
        if missing := sorted(wanted - set(BATCH_LABELS)):
            raise ValueError(
                f"The network {config.network!r} cannot be trained here yet: it learns from "
                f"{missing[0]} labels, which batches do not carry."
            )
        protocols.check(config.protocol)

    @classmethod
    def create(cls, config: TrainConfig, folder: Path, *, resume: bool) -> Run:
        """Names the folder of a new run, or finds the one to continue. Writes nothing yet.

        Raises:
            ValueError: If the config is off, or the folder is there and `resume` is not asked, or
                is not there and it is, or was made with another config.
        """
        cls.check(config)
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

    @property
    def network(self) -> networks.Network:
        """What there is to know of the kind of network."""
        return networks.NETWORKS[self.config.network]

    @cached_property
    def codec(self) -> HeatmapCodec:
        """Reads the maps of the run's network, if it draws any."""
        return HeatmapCodec(self.config.crop_size, sigma=self.config.sigma)

    def check_version(self, data: PreparedSet) -> None:
        """Compares a data set with the one that the run was trained on, if that is known yet.

        Raises:
            ValueError: If it is the same set in another version: scores would not compare.
        """
        path = self.folder / "provenance.json"
        if not path.exists():
            return
        try:
            before = str(json.loads(path.read_text())["dataset"]).split("+")
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} cannot be read: {error!r}.") from None
        for name in data.name.split("+"):
            for other in before:
                if name != other and name.rpartition("/")[0] == other.rpartition("/")[0]:
                    raise ValueError(
                        f"{self.folder} was trained on {other}, and the data set at hand is "
                        f"{name}: their scores do not compare. Prepare that version, or train anew."
                    )

    def fold(self, data: PreparedSet) -> protocols.Fold:
        """Says which examples train, choose the epoch, and test.

        Raises:
            ValueError: If the data set does not fit the protocol of the config.
        """
        return protocols.fold_of(folds_of(self.config, data), self.config.fold)

    def facts(self, data: PreparedSet) -> dict[str, str]:
        """Says of predictions what one must know to compare them."""
        levels = set(data.presence_from)
        level = levels.pop() if len(levels) == 1 else None
        return {
            "run": self.config.name,
            "protocol": self.config.protocol,
            "folds_total": str(len(folds_of(self.config, data))),
            "note": self.fold(data).note,
            "presence_from": "" if level is None else f"{level:g}",
        }

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
        self.check_version(data)
        self.aus.points_of(data.aus)  # before anything is written: the set must know our units
        fold, rows, steps = self.fold(data), self._training_rows(data), self.steps(data)
        keras.utils.set_random_seed(config.seed)
        tf.config.experimental.enable_tensor_float_32_execution(False)  # float32 on any GPU
        resumed = (self.folder / "last.keras").exists()
        model = self.model("last.keras") if resumed else self._build(steps)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write("config.json", config.to_json())
        provenance = {
            "dataset": data.name,
            "description": data.description,
            "licence": data.licence,
            "trained_with": {"keras": keras.__version__, "tensorflow": tf.__version__},
        }
        self._write("provenance.json", json.dumps(provenance, indent=1) + "\n")
        learns, shown = self.network.learns, CHOSEN_BY[self.network.estimates]
        done = int(model.optimizer.iterations.numpy()) // steps
        history = self.history()[:done]

        for epoch in range(done + 1, config.epochs + 1):
            started = time.monotonic()
            for number, generator in enumerate(_generators(model)):
                generator.state.assign([config.seed * 100_003 + epoch, number * 1_000_000])
            batches = data.batches(
                rows,
                self.aus,
                config.crop_size,
                config.batch_size,
                augmentation=Augmentation(),
                seed=config.seed * 100_003 + epoch,
            )
            fit = model.fit(
                batches.map(
                    lambda image, label: (
                        image,
                        {output: label[name] for output, name in learns.items()},
                    )
                ),
                shuffle=False,  # the batches come shuffled
                verbose=0,
                callbacks=[_OnBatch(on_batch)],
            )
            row = {"epoch": epoch, "loss": fit.history["loss"][0]}
            if fold.validation.any():
                seen = evaluate.predict(model, data, fold.validation, self.aus, self.codec)
                row |= self._scores(seen)
            history.append(row)
            # Where nobody can be scored (NaN) or nobody is asked, the last epoch is the best.
            merit = [np.nan_to_num(earlier.get(shown[0], 0.0)) for earlier in history]
            if merit[-1] == max(merit):
                self._save(model, "model.keras")
            self._write("metrics.jsonl", "".join(json.dumps(row) + "\n" for row in history))
            self._save(model, "last.keras")  # last: only now the epoch is done
            scores = "".join(f"  validation {k} {row[k]:.3f}" for k in shown if k in row)
            log(
                f"epoch {epoch}/{config.epochs}  loss {row['loss']:.4f}{scores}  "
                f"{time.monotonic() - started:.0f} s"
            )

    def finish(self, data: PreparedSet) -> scoring.Scores:
        """Scores the chosen epoch on the test people and writes the report."""
        config, model, fold = self.config, self.model(), self.fold(data)
        size = config.crop_size
        calibration, _ = data.sample(fold.train, self.aus, size, CALIBRATION_CROPS)
        test, points = data.sample(fold.test, self.aus, size, VERIFICATION_CROPS)
        with whole_file(self.folder / "calibration.npz") as path:
            np.savez_compressed(path, images=calibration, test_images=test, test_points=points)

        predictions = evaluate.predict(
            model,
            data,
            fold.test,
            self.aus,
            self.codec,
            fold=fold.name,
            facts=self.facts(data),
        )
        constant = _mean(data.labels.intensity[fold.train], data.aus, self.aus)
        scores = scoring.scores(predictions, constant=constant)
        evaluate.publish(scores, predictions, self.folder)
        plots.curves(self.history()).savefig(self.folder / "curves.png", dpi=120)
        pictures = ["![scores](bars.png)", "![curves](curves.png)"]
        if "heatmaps" in self.network.learns:
            sheet = plots.sheet(model, self.aus, self.codec, test, points)
            sheet.savefig(self.folder / "sheet.png", dpi=110)
            pictures.append("![crops and maps](sheet.png)")
        people = len(set(zip(predictions.dataset, predictions.subject, strict=True)))
        self._write(
            "report.md",
            f"# {config.name}\n\n{data.name}: {data.description} Protocol {config.protocol}, "
            f"{fold.name}. Scored on the {len(predictions.frame)} crops of {people} test people, "
            "whom neither training nor the choice of the epoch has seen.\n\n"
            f"{scores.markdown()}\n\n" + "\n\n".join(pictures) + "\n",
        )
        return scores

    def _scores(self, seen: scoring.Predictions) -> dict[str, float]:
        """Averages over the units how well the validation people are seen."""
        if self.network.estimates == "intensity":
            return score(self.aus, seen.intensity_true, seen.intensity)["mean"]
        means = {}
        for name, metric in (("F1", f1), ("AUC", auc)):
            values = metric(seen.presence_true, seen.presence)
            known = values[np.isfinite(values)]  # of units that these people show
            if len(known):
                means[name] = float(known.mean())
        return means

    def steps(self, data: PreparedSet) -> int:
        """Returns the steps of an epoch."""
        crops = int(self._training_rows(data).sum())
        steps = crops // self.config.batch_size
        if steps < 1:
            raise ValueError(
                f"`batch_size` must be at most {crops}, the size of the training split. "
                f"Received: {self.config.batch_size}."
            )
        return steps

    def _training_rows(self, data: PreparedSet) -> npt.NDArray[Any]:
        """Says how often each example is seen in an epoch, (N,)."""
        train = self.fold(data).train
        if not self.config.balance:
            return train
        columns = [data.aus.index(number) for number in self.aus.numbers]
        return balance(
            data.labels, train, self.config.balance, seed=self.config.seed, columns=columns
        )

    def history(self) -> list[dict[str, float]]:
        """Reads `metrics.jsonl`."""
        path = self.folder / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _build(self, steps: int) -> keras.Model:
        config = self.config
        options: dict[str, Any] = {"weights": config.weights} if config.weights else {}
        try:
            backbone = backbones.named(config.backbone)(config.crop_size, **options)
        except Exception as error:  # what Keras raises when a download fails
            if not config.weights:
                raise
            raise ValueError(
                f"`--backbone {config.backbone}` cannot be built with --weights "
                f"{config.weights}: {error}"
            ) from None
        model = self.network.build(backbone, self.aus, config)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0,
            decay_steps=steps * max(config.epochs - 1, 1),
            warmup_target=config.learning_rate,
            warmup_steps=steps,
        )
        model.compile(
            keras.optimizers.AdamW(rate, weight_decay=config.weight_decay, clipnorm=1.0),
            loss=self.network.losses(self.aus, config),
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


def open_data(
    names: Sequence[str], data_dir: str | None = None, manual_dir: str | None = None
) -> PreparedSet:
    """Prepares data sets if need be, and opens them as one."""
    import tfds_builders

    return PreparedSet(*(tfds_builders.prepare(name, data_dir, manual_dir) for name in names))


def folds_of(config: TrainConfig, data: PreparedSet) -> list[protocols.Fold]:
    """Divides the people of a data set as a config says."""
    return protocols.folds(
        config.protocol, data.labels, validation=config.validation, seed=config.seed
    )


def _mean(intensity: npt.NDArray[np.float32], has: AUSet, wanted: AUSet) -> npt.NDArray[np.float32]:
    """Returns the mean code of each wanted unit, NaN where there is none: (A,)."""
    columns = np.ma.masked_invalid(intensity[:, [has.index(n) for n in wanted.numbers]])
    return np.ma.filled(columns.mean(axis=0), np.nan).astype(np.float32)


def _generators(model: keras.Model) -> Iterator[keras.random.SeedGenerator]:
    """Finds what dropout layers draw from, wherever they are; their files do not remember it."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _generators(layer)
        elif hasattr(layer, "seed_generator"):
            yield layer.seed_generator


class _OnBatch(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells how far the epoch is."""

    def __init__(self, report: Callable[[int, float], None]) -> None:
        super().__init__()
        self.report = report

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Passes the news on."""
        self.report(batch + 1, (logs or {}).get("loss", float("nan")))
