"""A folder of trained models, a file for each unit and task, and how they were made."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tfau import __version__
from tfau.classic.features import HOG_LENGTH, Floats, features
from tfau.classic.unit_model import GRIDS, TASKS, Parts, UnitModel
from tfau.core.action_units import ACTION_UNITS, AUSet
from tfau.core.align import FaceAligner
from tfau.core.files import whole_file

if TYPE_CHECKING:
    from tfau.data.pipeline import PreparedSet
    from tfau.protocols import Fold

Advance = Callable[[int], None]

_BATCH = 64
# The points of rendered faces say how far a mouth was moved. With landmarks that a detector finds
# in the same crops, the mean ICC of AU4, 12 and 25 falls from .82 to .60; to .68 if they train too.
_RENDERED = "landmarks are where the renderer drew them, which flatters: none is searched for"
_FORMAT = "tfau.classic 1"


def _silent(_: int) -> None:
    """Takes progress and drops it."""


@dataclass(frozen=True)
class ClassicConfig:
    """Says how a folder of models was made.

    Args:
        dataset: Data set; several are joined with a `+`.
        aus: FACS numbers of the units to learn.
        protocol: How people are divided, see `tfau.protocols`.
        fold: Which of its folds.
        limit: Training crops at most, evenly spaced; 0 = all. The time grows with their square.
        grid: What is tried: one of `GRIDS`.
        seed: Decides the folds, where they are drawn.
        prepared: Full name of the data set as it was found, with its version.
        crop_size: Side of its crops, px.
        landmarks: FACS numbers of the units whose points are the landmarks.
        presence_from: Intensity from which a unit counts as seen; None if that was coded as such.
    """

    dataset: str
    aus: tuple[int, ...]
    protocol: str = "as_prepared"
    fold: int = 1
    limit: int = 2000
    grid: str = "published"
    seed: int = 0
    prepared: str = ""
    crop_size: int = 0
    landmarks: tuple[int, ...] = ()
    presence_from: float | None = None

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets that are joined."""
        return tuple(name.strip() for name in self.dataset.split("+"))

    def check(self) -> None:
        """Checks what can be checked without data; ValueError if something is off."""
        from tfau import protocols

        AUSet(self.aus)
        protocols.check(self.protocol)
        if self.fold < 1:
            raise ValueError(f"`fold` must be at least 1. Received: {self.fold}.")
        if self.limit < 0:
            raise ValueError(f"`limit` must be at least 0. Received: {self.limit}.")
        if self.grid not in GRIDS:
            raise ValueError(f"There is no grid {self.grid!r}. Known: {', '.join(GRIDS)}.")

    def of(self, data: PreparedSet) -> ClassicConfig:
        """Adds what the data set says."""
        first = np.zeros(len(data), bool)
        first[np.unique(data.labels.dataset, return_index=True)[1]] = True
        _, points = data.sample(first, data.aus, data.crop_size, len(data))
        missing = np.isnan(points[..., :2]).any(axis=(0, 2))  # in one of several sets
        names = np.array(data.aus.point_names)[missing].tolist()
        common = tuple(n for n in data.aus.numbers if not {*ACTION_UNITS[n].points} & {*names})
        levels = set(data.presence_from)
        return dataclasses.replace(
            self,
            prepared=data.name,
            crop_size=data.crop_size,
            landmarks=common,
            presence_from=levels.pop() if len(levels) == 1 else None,
        )

    def folds(self, data: PreparedSet) -> list[Fold]:
        """Divides people; nobody is held back to choose anything.

        Raises:
            ValueError: If the data set does not fit the protocol.
        """
        from tfau import protocols

        return protocols.folds(self.protocol, data.labels, validation=0.0, seed=self.seed)

    @classmethod
    def read(cls, path: Path) -> ClassicConfig:
        """Reads a `config.json`; ValueError if it is not one of these."""
        try:
            values = json.loads(path.read_text())
            if values.pop("format") != _FORMAT:
                raise ValueError("another format")
            for name in ("aus", "landmarks"):
                values[name] = tuple(values[name])
            config = cls(**values)
            config.check()
            FaceAligner(config.crop_size)
            AUSet(config.landmarks)
            float(config.presence_from or 0.0)
        except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not the config of classic models: {error}.") from None
        return config


@dataclass(frozen=True)
class ClassicModel:
    """A folder of models, one file for each unit and task, and how they were made.

    It holds `config.json`, `provenance.json`, `AU12_presence.skops` ..., and when all are trained
    `predictions.parquet` with its tables and pictures.

    Args:
        folder: `runs/NAME`, or `runs/NAME/fold1` ...
        config: What `config.json` says.
    """

    folder: Path
    config: ClassicConfig

    @classmethod
    def create(cls, config: ClassicConfig, data: PreparedSet, folder: Path) -> ClassicModel:
        """Names a new folder, or finds the one that was started so. Writes nothing yet.

        Raises:
            ValueError: If a unit is not in the data set, or the folder holds something else.
        """
        AUSet(config.aus).points_of(data.aus)
        model = cls(folder, config.of(data))
        path = folder / "config.json"
        if path.exists() and ClassicConfig.read(path) != model.config:
            raise ValueError(
                f"{folder} was made with other settings; repeat them, or choose another --name."
            )
        model.fold(data)
        return model

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Says whether a folder is one of classic models, not the run of a network."""
        path = folder / "config.json"
        return path.is_file() and b'"tfau.classic ' in path.read_bytes()

    @classmethod
    def open(cls, folder: Path) -> ClassicModel:
        """Opens a folder of trained models.

        Raises:
            ValueError: If there is none, or a file is damaged, or not ours.
        """
        if not (folder / "config.json").is_file():
            raise ValueError(
                f"There are no classic models in {folder}; `python -m tfau.classic train` makes "
                "some."
            )
        model = cls(folder, ClassicConfig.read(folder / "config.json"))
        if not model.units:
            raise ValueError(f"{folder} has no trained unit yet; start its training again.")
        return model

    @property
    def aus(self) -> AUSet:
        """Units to learn, in order."""
        return AUSet(self.config.aus)

    @cached_property
    def units(self) -> dict[tuple[int, str], UnitModel]:
        """Trained models by unit and task, of those that there are."""
        width = HOG_LENGTH + 2 * len(AUSet(self.config.landmarks).point_names)
        found = {}
        for number in self.config.aus:
            for task in TASKS:
                path = self.path(number, task)
                if not path.is_file():
                    continue
                model = found[number, task] = UnitModel.read(path)
                wanted = "decision_function" if task == "presence" else "predict"
                if not hasattr(model.estimator, wanted) or model.estimator.n_features_in_ != width:
                    raise ValueError(f"{path} does not belong to {self.folder}.")
        return found

    def path(self, number: int, task: str) -> Path:
        """Names the file of a unit and task."""
        return self.folder / f"{ACTION_UNITS[number].label}_{task}.skops"

    def fold(self, data: PreparedSet) -> Fold:
        """Says which examples train and which test.

        Raises:
            ValueError: If the data set does not fit the protocol, or it has no such fold.
        """
        from tfau import protocols

        return protocols.fold_of(self.config.folds(data), self.config.fold)

    def facts(self, data: PreparedSet) -> dict[str, str]:
        """Says of predictions what one must know to compare them."""
        level = self.config.presence_from
        return {
            "run": self.folder.name,
            "protocol": self.config.protocol,
            "folds_total": str(len(self.config.folds(data))),
            "note": "; ".join(filter(None, [self.fold(data).note, self.note(data)])),
            "presence_from": "" if level is None else f"{level:g}",
        }

    @staticmethod
    def note(data: PreparedSet) -> str:
        """Says what flatters scores on a data set; empty if nothing does."""
        return _RENDERED if "synthetic_faces" in data.name else ""

    def check_version(self, data: PreparedSet) -> None:
        """Compares a data set with the one that the models were trained on.

        Raises:
            ValueError: If it is the same set in another version: scores would not compare.
        """
        for name in data.name.split("+"):
            for other in self.config.prepared.split("+"):
                if name != other and name.rpartition("/")[0] == other.rpartition("/")[0]:
                    raise ValueError(
                        f"{self.folder} was trained on {other}, and the data set at hand is "
                        f"{name}: their scores do not compare. Prepare that version, or train anew."
                    )

    def training_rows(self, data: PreparedSet) -> npt.NDArray[np.bool_]:
        """Chooses the examples that train, (N,)."""
        rows = np.flatnonzero(self.fold(data).train)
        count = min(len(rows), self.config.limit or len(rows))
        chosen = np.zeros(len(data), bool)
        chosen[rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]] = True
        return chosen

    def features(
        self, data: PreparedSet, rows: npt.NDArray[np.bool_], advance: Advance
    ) -> Iterator[Floats]:
        """Yields the features of a choice of examples, a batch at a time.

        Args:
            data: The prepared set.
            rows: (N,) the choice.
            advance: Told how many more are done.

        Raises:
            ValueError: If the set lacks a landmark.
        """
        marks, size = AUSet(self.config.landmarks), self.config.crop_size
        for images, labels in data.batches(rows, marks, size, _BATCH).as_numpy_iterator():
            places = labels["points"][..., :2]
            if np.isnan(places).any():
                raise ValueError(f"{data.name} lacks landmarks that {self.folder} was trained on.")
            crops = np.rint(images).astype(np.uint8)
            yield np.stack([features(*pair) for pair in zip(crops, places, strict=True)])
            advance(len(crops))

    def train(
        self,
        data: PreparedSet,
        advance: Advance = _silent,
        log: Callable[[str], None] = print,
    ) -> None:
        """Trains the units that are not trained yet; each is kept as soon as it is.

        Args:
            data: The prepared set.
            advance: Told how many more crops are described.
            log: Called with a line for each unit and task.

        Raises:
            ValueError: If no unit can be trained.
        """
        from tfau.protocols import persons

        waiting = [
            (number, task)
            for number in self.config.aus
            for task in TASKS
            if not self.path(number, task).is_file()
        ]
        if not waiting:
            return
        self._describe(data)
        rows, labels = self.training_rows(data), data.labels
        values = np.concatenate(list(self.features(data, rows, advance)))
        people = persons(labels.dataset, labels.subject)[rows]
        known: dict[bytes, Parts] = {}
        for number, task in waiting:
            truth = getattr(labels, task)[rows, data.aus.index(number)]
            name = f"{ACTION_UNITS[number].label} {task}"
            try:
                model = UnitModel.train(
                    task, values, truth, people, GRIDS[self.config.grid][task], known
                )
            except ValueError as error:
                log(f"{name}: left out, {error}")
                continue
            model.write(self.path(number, task))
            chosen = {
                key.removeprefix("svm__"): value
                for key, value in model.estimator.get_params().items()
                if key in GRIDS[self.config.grid][task]
            }
            words = ", ".join(f"{key} {value:g}" for key, value in chosen.items())
            metric = "F1" if task == "presence" else "MSE"
            log(f"{name}: {words}; {metric} {model.score:.2f} in the search, {model.rows} crops")
        self.__dict__.pop("units", None)  # read again: there are more now
        if not self.units:
            raise ValueError("No unit could be trained; the lines above say why.")

    def _describe(self, data: PreparedSet) -> None:
        """Writes how the models are made, and of what."""
        provenance = {
            "dataset": data.name,
            "description": data.description,
            "licence": data.licence,
            "tfau": __version__,
        }
        settings = {"format": _FORMAT, **dataclasses.asdict(self.config)}
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, values in (("provenance.json", provenance), ("config.json", settings)):
            with whole_file(self.folder / name) as unfinished:
                unfinished.write_text(json.dumps(values, indent=1) + "\n")

    def answers(
        self, data: PreparedSet, rows: npt.NDArray[np.bool_], advance: Advance = _silent
    ) -> dict[str, Floats]:
        """Asks all models about a choice of examples.

        Args:
            data: The prepared set.
            rows: (N,) the choice, n of them.
            advance: Told how many more are done.

        Returns:
            `presence` and `intensity`, (n, A), as `predict`.
        """
        parts = [self.predict(values) for values in self.features(data, rows, advance)]
        both = (np.concatenate(part) for part in zip(*parts, strict=True))
        return dict(zip(TASKS, both, strict=True))

    def predict(self, values: Floats) -> tuple[Floats, Floats]:
        """Asks all models.

        Args:
            values: (N, F) features.

        Returns:
            Presence (N, A), scores 0 to 1, and intensity (N, A), 0 to 5; NaN where there is no
            model.
        """
        answers = np.full((len(TASKS), len(values), len(self.aus)), np.nan, np.float32)
        for (number, task), model in self.units.items():
            answers[TASKS.index(task), :, self.aus.index(number)] = model.predict(values)
        return answers[0], answers[1]

    def read_photo(self, path: Path) -> tuple[Floats, Floats]:
        """Asks all models about the face in a photo, cut out as those of a data set are.

        Args:
            path: A picture file. If it shows several faces, it is the one found first.

        Returns:
            Presence (A,) and intensity (A,), as `predict`.

        Raises:
            ValueError: If it shows no face, or is no picture.
        """
        from tfds_builders.preparation import examples
        from tfds_builders.recordings import CodedFrame, Recording

        if not path.is_file():
            raise ValueError(f"There is no picture {path}.")
        marks = AUSet(self.config.landmarks)
        unknown = dict.fromkeys(marks.numbers, float("nan"))
        frame = CodedFrame(number=0, picture=path.name, intensity=unknown)
        photo = Recording(subject="", sequence="", media=path.parent, frames=(frame,))
        ((_, example),) = examples(photo, marks, self.config.crop_size)
        if isinstance(example, str):
            raise ValueError(f"{path}: {example}.")
        presence, intensity = self.predict(features(example.image, example.points[:, :2])[None])
        return presence[0], intensity[0]
