"""One training run: its folder, its epochs, its report.

A run folder holds `config.json`, `provenance.json` (which data), what `tfau.journal` tells of each
epoch, `last.keras` (network, optimiser and history after the last complete epoch), the one before
it, `model.keras` (the best epoch on the validation people), and at the end `calibration.npz` (what
the exporter calibrates and verifies with), `predictions.parquet` with its tables and pictures, and
`report.md`.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfau import checkpoints, devices, engine, evaluate, plots, protocols, scoring
from tfau.configs import TrainConfig
from tfau.core.action_units import AUSet
from tfau.core.agreement import auc, f1, mae, score
from tfau.core.files import whole_file
from tfau.core.heatmaps import HeatmapCodec
from tfau.data.augmentation import Augmentation
from tfau.data.coverage import cover
from tfau.data.pipeline import PreparedSet, balance
from tfau.data.segments import Segments
from tfau.engine import Trainer
from tfau.journal import Journal
from tfau.models import networks
from tfau.predictions import Predictions

CALIBRATION_CROPS = 256
VERIFICATION_CROPS = 512
PANEL_CROPS = 6
CHOSEN_BY = {"intensity": ("ICC", "MAE"), "presence": ("F1", "AUC")}
"""Of what a network estimates: the score that chooses the epoch, and another that is shown."""


_Lessons = tuple[int, str, Callable[[int], tf.data.Dataset]]
"""How many, of what, and what streams them in batches, by a seed."""


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
        engine.check(config)
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
        return networks.row(self.config)

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
        fold = protocols.fold_of(folds_of(self.config, data), self.config.fold)
        if not self.config.overfit:
            return fold
        train = np.flatnonzero(fold.train)
        few = np.zeros_like(fold.train)
        count = min(self.config.overfit, len(train))
        few[train[np.linspace(0, len(train) - 1, count).astype(int)]] = True
        note = f"{few.sum()} crops, learnt by heart: training, validation and test are the same"
        return dataclasses.replace(fold, train=few, validation=few, test=few, note=note)

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
        return checkpoints.load(self.folder / name)[0]

    @cached_property
    def journal(self) -> Journal:
        """Tells of each epoch."""
        return Journal(self.folder)

    def history(self) -> checkpoints.History:
        """Returns what was measured in each complete epoch."""
        return self.journal.rows()

    def train(
        self,
        data: PreparedSet,
        on_batch: Callable[[int, float], None],
        log: Callable[[str], None],
        spread: devices.Spread | None = None,
    ) -> None:
        """Trains to the last epoch of the config, from wherever the folder stands.

        Everything random is drawn from the config's seed and the number of the epoch, and weights
        and optimiser are saved together, so a run that was stopped anywhere and resumed gives
        the same network as one that was not.

        Args:
            data: The prepared set.
            on_batch: Called with the number of batches done in this epoch and the mean loss.
            log: Called with a line of text after each epoch.
            spread: What shares each batch between devices; None = one device does it all.

        Raises:
            ValueError: If the loss is no number any more, or a batch does not fit into the memory;
                the sentence says what to do. What was saved before stays.
        """
        config = self.config
        self.check_version(data)
        self.aus.points_of(data.aus)  # before anything is written: the set must know our units
        fold, batches = self.fold(data), self._batches(data)
        trainer = Trainer(config, self.aus, self.steps(data), self._unit_weights(data), spread)
        history = trainer.resume(self.folder / "last.keras", log)
        self._describe(data)
        if history != self.history():  # stopped between two files, or an older checkpoint
            self.journal.write(history)
        panel = self._panel(data)

        while len(history) < config.epochs and not self._is_hopeless(history):
            started, epoch = time.monotonic(), len(history) + 1
            seed = config.seed * 100_003 + epoch
            loss = trainer.epoch(batches(seed), seed, on_batch)
            row: dict[str, Any] = {"epoch": epoch, "loss": loss}
            if fold.validation.any():
                seen = evaluate.predict(trainer.kept, data, fold.validation, self.aus, self.codec)
                row |= self._scores(seen)
            picture = panel(trainer.kept)
            row["seconds"] = time.monotonic() - started
            history.append(row)
            if self._best(history) == epoch:
                checkpoints.save(trainer.kept, self.folder / "model.keras", history)
            trainer.save(self.folder / "last.keras", history)  # only now the epoch is done
            self.journal.write(history)
            self.journal.show(history[-1], picture)
            shown = CHOSEN_BY[self.network.estimates]
            scores = "".join(f"  validation {k} {row[k]:.3f}" for k in shown if k in row)
            log(f"epoch {epoch}/{config.epochs}  loss {loss:.4f}{scores}  {row['seconds']:.0f} s")
        if len(history) < config.epochs:
            log(f"No better epoch than {self._best(history)} in {config.patience}: stopped early.")

    def rehearse(self, data: PreparedSet) -> str:
        """Does one step of training and writes nothing.

        Returns:
            What would be trained on what, and how long an epoch would take.
        """
        config, fold, steps = self.config, self.fold(data), self.steps(data)
        size, things, _ = self._lessons(data)
        self.aus.points_of(data.aus)
        model = Trainer(config, self.aus, steps, self._unit_weights(data)).model
        times = []
        for images, labels in self._batches(data)(config.seed).take(4).as_numpy_iterator():
            started = time.monotonic()
            loss = float(np.ravel(model.train_on_batch(images, labels))[0])
            times.append(time.monotonic() - started)
        outputs = ", ".join(f"{name} {value.shape[1:]}" for name, value in model.output.items())
        return (
            f"{config.network} on {config.backbone}: {model.count_params():,} parameters, "
            f"{config.crop_size} px -> {outputs}\n"
            f"{fold.name}: {size} {things} to train, {fold.validation.sum()} to choose "
            f"the epoch, {fold.test.sum()} to test\n"
            f"{config.epochs} epochs of {steps} batches of {config.batch_size}, about "
            f"{min(times) * steps:.0f} s each; loss of the first batches {loss:.4f}"
        )

    def finish(self, data: PreparedSet) -> scoring.Scores:
        """Scores the chosen epoch on the test people and writes the report."""
        config, model, fold = self.config, self.model(), self.fold(data)
        evidence = self._evidence(data)
        with whole_file(self.folder / "calibration.npz") as path:
            np.savez_compressed(path, **evidence)  # type: ignore[arg-type]

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
            sheet = plots.sheet(
                model, self.aus, self.codec, evidence["test_images"], evidence["test_points"]
            )
            sheet.savefig(self.folder / "sheet.png", dpi=110)
            pictures.append("![crops and maps](sheet.png)")
        people = len(set(zip(predictions.dataset, predictions.subject, strict=True)))
        unseen = (
            "which it has learnt by heart"
            if config.overfit
            else "whom neither training nor the choice of the epoch has seen"
        )
        self._write(
            "report.md",
            f"# {config.name}\n\n{data.name}: {data.description} Protocol {config.protocol}, "
            f"{fold.name}. Scored on the {len(predictions.frame)} crops of {people} test people, "
            f"{unseen}.\n\n"
            f"{scores.markdown()}\n\n" + "\n\n".join(pictures) + "\n",
        )
        return scores

    def _evidence(self, data: PreparedSet) -> dict[str, npt.NDArray[Any]]:
        """Collects the crops that an export calibrates, chooses and verifies with."""
        size, fold = self.config.crop_size, self.fold(data)
        train, shown = np.flatnonzero(fold.train), np.zeros_like(fold.train)
        columns = [data.aus.index(number) for number in self.aus.numbers]
        strength = np.fmax(data.labels.intensity, data.labels.presence)[train][:, columns]
        shown[train[cover(strength, CALIBRATION_CROPS, seed=self.config.seed)]] = True
        # Where nobody chooses the epoch, what is left of the training people must do.
        rest = fold.train & ~shown
        others = next((rows for rows in (fold.validation, rest) if rows.any()), fold.train)
        images, _ = data.sample(shown, self.aus, size, CALIBRATION_CROPS)
        evidence: dict[str, npt.NDArray[Any]] = {"images": images}
        for name, rows, count in (
            ("held", others, CALIBRATION_CROPS),
            ("test", fold.test, VERIFICATION_CROPS),
        ):
            few = data.few(rows, count)
            images, points = data.sample(few, self.aus, size, count)
            people = np.char.add(
                np.char.add(data.labels.dataset[few], " "), data.labels.subject[few]
            )
            evidence |= {f"{name}_images": images, f"{name}_points": points}
            evidence[f"{name}_subjects"] = people
        return evidence

    def _scores(self, seen: Predictions) -> dict[str, float]:
        """Averages over the units how well the validation people are seen."""
        if self.network.estimates == "intensity":
            return score(self.aus, seen.intensity_true, seen.intensity)["mean"]
        means = {}
        for name, metric in (("F1", f1), ("AUC", auc), ("MAE", mae)):
            values = metric(seen.presence_true, seen.presence)
            known = values[np.isfinite(values)]  # of units that these people show
            if len(known):
                means[name] = float(known.mean())
        return means

    def steps(self, data: PreparedSet) -> int:
        """Returns the steps of an epoch."""
        size, things, _ = self._lessons(data)
        together = self.config.accumulate
        steps = size // (self.config.batch_size * together) * together
        if steps < 1:
            name = "batch_size" if together == 1 else "batch_size * accumulate"
            raise ValueError(
                f"`{name}` must be at most {size}, the number of {things} to train with. "
                f"Received: {self.config.batch_size * together}."
            )
        return steps

    def _training_rows(self, data: PreparedSet) -> npt.NDArray[Any]:
        """Says how often each example is seen in an epoch, (N,)."""
        train = self.fold(data).train
        if self.config.overfit:  # again and again, so that an epoch is as long as it was
            whole = protocols.fold_of(folds_of(self.config, data), self.config.fold).train
            return train * max(int(whole.sum() // train.sum()), 1)
        if not self.config.balance:
            return train
        columns = [data.aus.index(number) for number in self.aus.numbers]
        return balance(
            data.labels, train, self.config.balance, seed=self.config.seed, columns=columns
        )

    def _unit_weights(self, data: PreparedSet) -> npt.NDArray[np.floating[Any]] | None:
        """Weighs rare units up, (A,) of mean 1."""
        if not self.config.unit_balance:
            return None
        labels, train = data.labels, self.fold(data).train
        columns = [data.aus.index(number) for number in self.aus.numbers]
        active = (labels.presence == 1) | (labels.intensity >= 1)
        share = active[train][:, columns].mean(axis=0)
        weights = np.maximum(share, 1 / train.sum()) ** -self.config.unit_balance
        return np.asarray(weights / weights.mean())

    def _lessons(self, data: PreparedSet) -> _Lessons:
        """Says what an epoch teaches: the training crops, or the segments between keyframes."""
        config, augmentation = self.config, Augmentation() if self.config.augment else None
        if config.segment:
            segments = Segments(data, self.fold(data).train, self.aus, config.segment)
            return (
                len(segments),
                "segments",
                lambda seed: segments.batches(
                    config.crop_size, config.batch_size, augmentation=augmentation, seed=seed
                ),
            )
        rows = self._training_rows(data)
        return (
            int(rows.sum()),
            "crops",
            lambda seed: data.batches(
                rows,
                self.aus,
                config.crop_size,
                config.batch_size,
                augmentation=None if config.overfit else augmentation,
                seed=seed,
            ),
        )

    def _batches(self, data: PreparedSet) -> Callable[[int], tf.data.Dataset]:
        """Makes what streams the batches of an epoch: images, and the label of each output."""
        _, _, batches = self._lessons(data)
        learns, steps = self.network.learns, self.steps(data)

        def stream(seed: int) -> tf.data.Dataset:
            return (
                batches(seed)
                .map(
                    lambda image, label: (image, {out: label[name] for out, name in learns.items()})
                )
                .take(steps)
            )

        return stream

    def _best(self, history: checkpoints.History) -> int:
        """Returns the best epoch, the later of equals."""
        # Where nobody can be scored (NaN) or nobody is asked, the last epoch is the best.
        chosen_by = CHOSEN_BY[self.network.estimates][0]
        merit = [float(np.nan_to_num(row.get(chosen_by, 0.0))) for row in history]
        return len(merit) - int(np.argmax(merit[::-1]))

    def _is_hopeless(self, history: checkpoints.History) -> bool:
        """Says whether the patience of the config is at its end."""
        patience = self.config.patience
        return bool(history and patience and len(history) - self._best(history) >= patience)

    def _panel(self, data: PreparedSet) -> Callable[[keras.Model], npt.NDArray[np.uint8] | None]:
        """Makes what draws the maps of a few crops."""
        if "heatmaps" not in self.network.learns:
            return lambda _model: None
        fold = self.fold(data)
        rows = fold.validation if fold.validation.any() else fold.train
        crops, points = data.sample(rows, self.aus, self.config.crop_size, PANEL_CROPS)
        return lambda model: plots.panel(model, self.codec, crops, points)

    def _describe(self, data: PreparedSet) -> None:
        """Makes the folder, and says there what is trained on what."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write("config.json", self.config.to_json())
        provenance = {
            "dataset": data.name,
            "description": data.description,
            "licence": data.licence,
            "trained_with": {
                "keras": keras.__version__,
                "backend": keras.backend.backend(),
                "tensorflow": tf.__version__,
            },
        }
        self._write("provenance.json", json.dumps(provenance, indent=1) + "\n")

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
