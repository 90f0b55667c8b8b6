"""One run of a pair network: its folder, its epochs, its answers."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from tfau import checkpoints, devices
from tfau.core.action_units import INTENSITY_MAX, AUSet
from tfau.core.agreement import icc
from tfau.core.files import whole_file
from tfau.models import backbones
from tfau.models.pair_net import AUPairNet
from tfau.pairs import ALL_UNITS, MAIN_UNITS
from tfau.pairs.lessons import Changes, Classes, Lessons
from tfau.pairs.revival import revived

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PairConfig:
    """Says everything that decides a training run.

    Args:
        name: Name of the run; its folder is `runs/NAME`.
        dataset: Prepared data set, with meshes.
        aus: Units, in output order.
        crop_size: Side S of the crops, px.
        backbone: A row of `tfau.models.backbones.BACKBONES`.
        weights: Weights of the backbone: None, or what the backbone's function takes.
        epochs: Passes over the training people.
        people: People in a batch.
        each: Pictures of each, one of them at rest.
        learning_rate: Highest rate; it falls as a cosine.
        weight_decay: Per step times the rate.
        agreement: Weight of 1 - the concordance of each unit in the batch.
        doubt: Weight of the likelihood of the errors.
        sight: Weight of what the crop alone gets wrong.
        teacher: Networks the mean of whose answers is learnt too, see `network`.
        teaching: Weight of those.
        start: Network that is trained further, see `network`; empty = none.
        frozen: Whether the backbone stays as it started: an epoch takes a third of the time.
        keep: Share of its weights in those that the run ends with: what it could is kept, too.
        photos: Pictures made of photographs in a batch, of which the teacher says what they show.
        views: How many are made of each photograph, see `Photos`.
        relative, person: See `Changes`.
        precision: What the network computes in, float32 or bfloat16.
        seed: Decides everything random.
        mean_of: Names of the runs whose weights these are the mean of; see `PairRun.mean`.
    """

    name: str
    dataset: str = "synthetic_faces/full"
    aus: tuple[int, ...] = ALL_UNITS
    crop_size: int = 128
    backbone: str = "compact"
    weights: str | None = None
    epochs: int = 20
    people: int = 24
    each: int = 4
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    agreement: float = 0.3
    doubt: float = 0.1
    sight: float = 1.0
    teacher: tuple[str, ...] = ()
    teaching: float = 1.0
    start: str = ""
    frozen: bool = False
    keep: float = 0.0
    photos: int = 0
    views: int = 0
    relative: float = 0.0
    person: float = 0.0
    precision: str = "float32"
    seed: int = 0
    mean_of: tuple[str, ...] = ()


@keras.saving.register_keras_serializable("tfau")
class PairLoss(keras.losses.Loss):  # type: ignore[misc]
    """Compares intensities and their errors with the truth, every point in units of its spread.

    Squared error; 1 - Lin's concordance of each point in the batch, which keeps a network from
    answering timidly; how unlikely the absolute error is, if it is exponentially distributed with
    the mean that the network says, which teaches the error only; the squared difference from a
    teacher; and what the crop alone gets wrong.

    Args:
        spread: (P,) variance of the intensity of each point.
        agreement, doubt, teaching, sight: Weights of all but the first.
        name: Name in the logs.

    Call arguments:
        y_true: (B, P) intensities, NaN = not coded; or (B, 2 P), what the teacher says behind them.
        y_pred: (B, 3 P + 1), see `AUPairNet.lesson`.

    References:
        Lin, "A concordance correlation coefficient to evaluate reproducibility", Biometrics 45,
        1989.
    """

    def __init__(
        self,
        spread: list[float],
        agreement: float = 0.3,
        doubt: float = 0.1,
        teaching: float = 1.0,
        sight: float = 1.0,
        name: str = "pair_loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **{"reduction": "sum", **kwargs})
        self.spread, self.agreement = list(spread), agreement
        self.doubt, self.teaching, self.sight = doubt, teaching, sight

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the loss of the batch."""
        points = len(self.spread)
        seen, error, sketch = (y_pred[:, k * points : (k + 1) * points] for k in range(3))
        missed = y_pred[:, 3 * points :]
        y_true, taught = y_true[:, :points], y_true[:, points:]
        known = ops.cast(ops.logical_not(ops.isnan(y_true)), seen.dtype)
        true = ops.where(ops.isnan(y_true), 0.0, y_true)
        count = ops.maximum(ops.sum(known, axis=0), 1.0)
        spread = ops.convert_to_tensor(self.spread, dtype=seen.dtype)

        def compared(seen: keras.KerasTensor) -> keras.KerasTensor:
            squared = ops.sum(ops.square(seen - true) * known, axis=0) / count
            means = [ops.sum(x * known, axis=0) / count for x in (true, seen)]
            off = [(x - mean) * known for x, mean in zip((true, seen), means, strict=True)]
            both = ops.sum(off[0] * off[1], axis=0) / count
            variances = [ops.sum(ops.square(x), axis=0) / count for x in off]
            apart = ops.square(means[0] - means[1])
            concordance = 2 * both / (variances[0] + variances[1] + apart + 0.05 * spread)
            return squared / spread + self.agreement * (1 - concordance)

        off = ops.abs(ops.stop_gradient(seen) - true)
        error = error + 0.02
        unlikely = ops.sum((ops.log(error) + off / error) * known, axis=0) / count
        loss = compared(seen) + self.doubt * unlikely
        loss = loss + self.sight * (compared(sketch) + ops.mean(missed))
        if taught.shape[-1]:
            said = ops.cast(ops.logical_not(ops.isnan(taught)), seen.dtype)
            taught = ops.where(ops.isnan(taught), 0.0, taught)
            differs = ops.sum(ops.square(seen - taught) * said, axis=0)
            loss = loss + self.teaching * differs / ops.maximum(ops.sum(said, axis=0), 1.0) / spread
        return ops.mean(loss)

    def get_config(self) -> dict[str, Any]:
        """Returns what `__init__` takes."""
        return {
            **super().get_config(),
            "spread": self.spread,
            "agreement": self.agreement,
            "doubt": self.doubt,
            "teaching": self.teaching,
            "sight": self.sight,
        }


class PairRun:
    """A run folder: `config.json`, `last.keras`, `model.keras`, `history.json`.

    Args:
        folder: `runs/NAME`.
        config: What its `config.json` says.
    """

    def __init__(self, folder: Path, config: PairConfig) -> None:
        self.folder, self.config = folder, config

    @classmethod
    def open(cls, folder: Path) -> PairRun:
        """Opens an existing run; ValueError if there is none."""
        path = folder / "config.json"
        try:
            values = json.loads(path.read_text())
            names = ("aus", "teacher", "mean_of")
            lists = {name: tuple(values[name]) for name in names if name in values}
            return cls(folder, PairConfig(**{**values, "aus": values["aus"], **lists}))
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"There is no run of a pair network in {folder}: {error}.") from None

    @classmethod
    def mean(cls, folder: Path, runs: Sequence[PairRun]) -> PairRun:
        """Makes a run whose weights are the mean of others that differ in their seed alone.

        Args:
            folder: Of the new run.
            runs: Two or more.

        Raises:
            ValueError: If they differ otherwise, or did not start from the same network: then
                their mean is nothing. Or if one is not finished.

        References:
            Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves
            accuracy without increasing inference time", ICML 2022.
        """
        alike = [dataclasses.replace(run.config, name="", seed=0) for run in runs]
        if len(runs) < 2 or any(config != alike[0] for config in alike) or not alike[0].start:
            raise ValueError(
                "A mean is of two or more runs that had the same --start and the same settings "
                f"but for the seed. Received: {', '.join(str(run.folder) for run in runs)}."
            )
        for name in ("calibration", "test"):
            runs[0].evidence(name)
        net = runs[0].model()
        every = zip(*(run.model().get_weights() for run in runs), strict=True)
        net.set_weights([np.mean(weights, axis=0) for weights in every])
        names = tuple(run.config.name for run in runs)
        made = cls(folder, dataclasses.replace(runs[0].config, name=folder.name, mean_of=names))
        folder.mkdir(parents=True, exist_ok=True)
        checkpoints.save(net, folder / "model.keras", [])
        for name in ("calibration.npz", "test.npz", "provenance.json"):
            shutil.copyfile(runs[0].folder / name, folder / name)
        made._describe()
        return made

    @cached_property
    def aus(self) -> AUSet:
        """Units of the run, in output order."""
        return AUSet(self.config.aus)

    def model(self) -> AUPairNet:
        """Loads the network after the last complete epoch."""
        net: AUPairNet = checkpoints.load(self.folder / "model.keras")[0]
        return net

    def train(
        self,
        lessons: Lessons,
        log: Callable[[str], None],
        on_batch: Callable[[int, int, float], None] = lambda *_: None,
        taught: Floats | None = None,
        photos: tuple[Lessons, Floats] | None = None,
    ) -> None:
        """Trains to the last epoch, from wherever the folder stands.

        Args:
            lessons: All examples; those of the split `train` are learnt from.
            log: Called with a line of text after each epoch.
            on_batch: Called with the batch, how many there are, and the mean loss.
            taught: (N, P) what a teacher says of all examples, if it is asked.
            photos: Pictures made of photographs, and what the teacher says of them.
        """
        config = self.config
        keras.utils.set_random_seed(config.seed)
        keras.config.set_dtype_policy(
            "mixed_bfloat16" if config.precision == "bfloat16" else config.precision
        )
        rows = lessons.split == "train"
        pupils = lessons.part(rows)
        classes = Classes(
            pupils,
            config.people,
            config.each,
            Changes(relative=config.relative, person=config.person),
            taught=None if taught is None else taught[rows],
            photos=photos,
            photos_each=config.photos,
        )
        options: dict[str, Any] = {"weights": config.weights} if config.weights else {}
        backbone = backbones.named(config.backbone)(config.crop_size, **options)
        net = AUPairNet(backbone, len(self.aus.point_names), name=config.name)
        net.standardise(pupils.meshes)
        if config.start:
            net.set_weights(network(config.start, pupils).get_weights())
        before = net.get_weights()
        net.backbone.trainable = not config.frozen
        lesson = net.lesson()
        total = config.epochs * classes.steps
        rate = keras.optimizers.schedules.CosineDecay(
            config.learning_rate / 50,
            max(1, total - classes.steps // 2),
            warmup_target=config.learning_rate,
            warmup_steps=classes.steps // 2,
        )
        optimizer = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay, clipnorm=1.0)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        spread = np.nanvar(pupils.levels, axis=0).clip(0.05)
        weights = config.agreement, config.doubt, config.teaching, config.sight
        loss = PairLoss([float(v) for v in spread], *weights)
        lesson.compile(optimizer, loss=loss, jit_compile=devices.compiled("auto"))

        history: checkpoints.History = []
        if found := checkpoints.load_newest(self.folder / "last.keras", log):
            stopped, history = found
            lesson.set_weights(stopped.get_weights())
            optimizer.build(lesson.trainable_variables)
            for mine, its in zip(optimizer.variables, stopped.optimizer.variables, strict=True):
                mine.assign(its)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._describe()

        choosing = self._few(lessons.part(lessons.split == "validation"))
        while len(history) < config.epochs:
            started, losses = time.monotonic(), []
            seed = config.seed * 100_003 + len(history)
            for layer in lesson.layers:  # dropout draws on from here, and files forget where
                if hasattr(layer, "seed_generator"):
                    layer.seed_generator.state.assign([seed, 0])
            for inputs, levels in classes.epoch(seed):
                value = float(np.ravel(lesson.train_on_batch(inputs, levels))[0])
                losses.append(value)
                if not np.isfinite(value):
                    raise ValueError("The loss is not a number; try a lower --learning-rate.")
                on_batch(len(losses), classes.steps, float(np.mean(losses[-200:])))
            row: dict[str, Any] = {"epoch": len(history) + 1, "loss": float(np.mean(losses))}
            learnt = net.get_weights()
            if config.keep:
                net.set_weights(_between(learnt, before, config.keep))
            if len(choosing):
                for name, calibrated, senses in (
                    ("plain", False, "both"),
                    ("calibrated", True, "both"),
                    ("crop", False, "image"),
                ):
                    answer, _ = answers(net, choosing, calibrated=calibrated, senses=senses)
                    scores = self._iccs(choosing, answer)
                    row[name] = float(np.nanmean([scores[n] for n in MAIN_UNITS if n in scores]))
            row["seconds"] = time.monotonic() - started
            history.append(row)
            checkpoints.save(net, self.folder / "model.keras", history)
            net.set_weights(learnt)
            checkpoints.save(lesson, self.folder / "last.keras", history, keep_previous=True)
            with whole_file(self.folder / "history.json") as path:
                path.write_text(json.dumps(history, indent=1) + "\n")
            shown = "  ".join(
                f"{k} {v:.3f}" for k, v in row.items() if k not in ("epoch", "seconds")
            )
            log(f"epoch {len(history)}/{config.epochs}  {shown}  {row['seconds']:.0f} s")

    def finish(self, lessons: Lessons, provenance: dict[str, str]) -> None:
        """Notes where the data come from, and what an export calibrates and verifies with.

        Args:
            lessons: All examples.
            provenance: Name and licence of the data set.
        """
        for name, split, people in (("calibration", "train", 40), ("test", "test", 60)):
            rows = np.flatnonzero(lessons.split == split)
            chosen = np.unique(lessons.subject[rows])
            chosen = chosen[np.linspace(0, len(chosen) - 1, min(people, len(chosen))).astype(int)]
            with whole_file(self.folder / f"{name}.npz") as path:
                lessons.part(rows[np.isin(lessons.subject[rows], chosen)]).save(path)
        with whole_file(self.folder / "provenance.json") as path:
            path.write_text(json.dumps(provenance, indent=1) + "\n")

    def evidence(self, name: str) -> Lessons:
        """Reads the examples for `calibration` or for the `test`."""
        try:
            return Lessons.load(self.folder / f"{name}.npz")
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(
                f"{self.folder}/{name}.npz cannot be read: {error}. Repeat the training command "
                "with --resume: that writes it anew."
            ) from None

    def provenance(self) -> dict[str, Any]:
        """Says where the weights come from and who may use them."""
        config = self.config
        before = Path(config.start or config.weights or "random weights").name
        return {
            **json.loads((self.folder / "provenance.json").read_text()),
            "run": config.name,
            "network": {
                "kind": "pair",
                "backbone": config.backbone,
                "started_from": before,
                **({"kept_of_it": config.keep} if config.keep else {}),
                **({"mean_of": list(config.mean_of)} if config.mean_of else {}),
            },
        }

    def _describe(self) -> None:
        with whole_file(self.folder / "config.json") as path:
            path.write_text(json.dumps(dataclasses.asdict(self.config), indent=1) + "\n")

    def _iccs(self, lessons: Lessons, answer: Floats) -> dict[int, float]:
        truth, seen = (self.aus.pool(levels) for levels in (lessons.levels, answer))
        return dict(zip(self.aus.numbers, icc(truth, seen).tolist(), strict=True))

    @staticmethod
    def _few(lessons: Lessons) -> Lessons:
        """Takes 100 people."""
        return lessons.part(np.isin(lessons.subject, np.unique(lessons.subject)[:100]))


def _between(
    learnt: list[npt.NDArray[Any]], before: list[npt.NDArray[Any]], keep: float
) -> list[npt.NDArray[Any]]:
    """Mixes weights with those that a training started from.

    References:
        Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022.
    """
    return [
        (keep * old + (1 - keep) * new).astype(new.dtype)
        for new, old in zip(learnt, before, strict=True)
    ]


def network(source: str, lessons: Lessons) -> AUPairNet:
    """Opens the network of a run's folder, or of a `.tflite`; see `revived`.

    Args:
        source: A path.
        lessons: Examples, which a `.tflite` needs.

    Raises:
        ValueError: If it holds no pair network.
    """
    path = Path(source)
    return revived(path, lessons) if path.suffix == ".tflite" else PairRun.open(path).model()


def answers(
    net: keras.Model, lessons: Lessons, *, calibrated: bool, senses: str = "both"
) -> tuple[Floats, Floats]:
    """Asks a network about every example and its mirror image, as the edge does.

    Args:
        net: An `AUPairNet`.
        lessons: N examples.
        calibrated: Whether the features of the person's first picture at rest go in.
        senses: `both`, `image` or `mesh`: what of the features is left.

    Returns:
        (N, P) means of both intensities, cut off at 0 and 5, and of their expected errors.
    """
    width = net.input["neutral"].shape[-1]
    keep = np.ones(width, np.float32)
    if senses == "image":
        keep[net.seen :] = 0
    elif senses == "mesh":
        keep[: net.seen] = 0
    rest, said = lessons.rest_of(), []
    for way in (lessons, lessons.mirrored()):
        features = features_of(net, way) * keep
        neutral = np.zeros_like(features)
        if calibrated:
            neutral = np.where(rest[:, None] < 0, 0, features[rest])
        answer = net.halves.answers(*map(ops.convert_to_tensor, (features, neutral)))
        said.append(np.stack([ops.convert_to_numpy(values) for values in answer]))
    intensity, error = 0.5 * (said[0] + said[1][..., lessons.aus.flip_index])
    return np.clip(intensity, 0.0, INTENSITY_MAX), error


def features_of(net: keras.Model, lessons: Lessons) -> Floats:
    """Makes the (N, D) features of N examples, which do not depend on the person at rest."""
    unknown = np.zeros((128, net.input["neutral"].shape[-1]), np.float32)
    parts = []
    for start in range(0, len(lessons), 128):
        rows = slice(start, start + 128)
        image, mesh = lessons.images[rows].astype(np.float32), lessons.meshes[rows]
        inputs = {"image": image, "mesh": mesh, "neutral": unknown[: len(mesh)]}
        parts.append(np.asarray(net.predict_on_batch(inputs)["features"], np.float32))
    return np.concatenate(parts)
