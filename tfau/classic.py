"""`python -m tfau.classic train | image`: action units without a network.

Histograms of gradients and the places of landmarks go into a support vector machine for each unit:
a classifier says whether it is seen (SVC), a regression how strong it is (SVR). `train` makes a
folder of such models and scores it on people they have not seen; `image` asks them about a photo.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tfau import __version__
from tfau.core.action_units import ACTION_UNITS, INTENSITY_MAX, AUSet
from tfau.core.align import FaceAligner
from tfau.core.errors import require_extra, run_cli
from tfau.core.files import whole_file
from tfau.core.quiet import import_quietly

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from tfau.data.pipeline import PreparedSet
    from tfau.protocols import Fold
    from tfau.scoring import Predictions, Scores

Floats = npt.NDArray[np.float32]
Advance = Callable[[int], None]

SIDE = 112
"""Side of the picture that gradients are taken of, px."""

HOG_LENGTH = 6084
"""13 x 13 blocks of 2 x 2 cells with 9 orientations each."""

TASKS = ("presence", "intensity")

_WIDE: dict[str, dict[str, list[float]]] = {
    "presence": {"svm__C": [100, 10, 1], "svm__gamma": [0.001]},
    "intensity": {"svm__C": [10, 8, 6, 4], "svm__gamma": [0.001], "svm__epsilon": [0.01, 0.1]},
}
_SMALL: dict[str, dict[str, list[float]]] = {
    "presence": {"svm__C": [10], "svm__gamma": [0.001]},
    "intensity": {"svm__C": [4], "svm__gamma": [0.001], "svm__epsilon": [0.1]},
}
GRIDS = {"published": _WIDE, "small": _SMALL}
"""What is tried for each task, by the name of the grid."""

EMOTIONS = {
    "happiness": (6, 12),
    "sadness": (1, 4, 15),
    "surprise": (1, 2, 5, 26),
    "fear": (1, 2, 4, 5, 7, 20, 26),
    "anger": (4, 5, 7, 23),
    "disgust": (9, 15, 16),
    "contempt": (12, 14),
}
"""Units by which the library of Arrotta names an emotion."""

_PARTS = 5  # of the people, in the search
_BATCH = 64
_FOREHEAD = 0.10  # how far above the brows the mask reaches, sides of the crop
_JAW = (0.3, 0.7)  # where its corners are on the way from a temple to the chin, across and down
_GROWTH = 1.06  # the outline of the landmarks lies within the face's
_STABLE = FaceAligner(32).template[:, :2] / 32  # eyes and temples, the same in every crop
_EYES = float(_STABLE[:, 1].min())
# The points of rendered faces say how far a mouth was moved. With landmarks that a detector finds
# in the same crops, the mean ICC of AU4, 12 and 25 falls from .82 to .60; to .68 if they train too.
_RENDERED = "landmarks are where the renderer drew them, which flatters: none is searched for"
# What readers of zips, of JSON, of arrays and of the objects in them raise.
_DAMAGE = (
    *(AttributeError, EOFError, ImportError, LookupError, OSError, RuntimeError, TypeError),
    *(ValueError, zipfile.BadZipFile, zlib.error),
)
_FORMAT = "tfau.classic 1"


def _silent(_: int) -> None:
    """Takes progress and drops it."""


def face_mask(points: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Covers the face in a crop: the convex hull of what is known of its outline.

    That is the landmarks, the temples and eyes that `FaceAligner` has put in their place, the upper
    of these once more, a forehead higher, and the corners of the jaw, between the temples and the
    lowest landmark. All is relative to the crop, hence to the face.

    Args:
        points: (L, 2) landmarks, x and y from 0 to 1 across the crop.

    Returns:
        (SIDE, SIDE) true where the face is.
    """
    import cv2

    known = np.concatenate([_STABLE, points])
    raised = known[known[:, 1] <= _EYES + 0.02] - (0, _FOREHEAD)
    temples = _STABLE[[_STABLE[:, 0].argmin(), _STABLE[:, 0].argmax()]]
    jaw = temples + (known[known[:, 1].argmax()] - temples) * _JAW
    known = np.concatenate([known, raised, jaw])
    middle = (known.min(axis=0) + known.max(axis=0)) / 2
    pixels = ((known - middle) * _GROWTH + middle) * SIDE - 0.5
    hull = cv2.convexHull(np.rint(pixels).astype(np.int32))
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillConvexPoly(mask, hull, 1)
    return mask.astype(bool)


def features(crop: npt.NDArray[np.uint8], points: npt.NDArray[Any]) -> Floats:
    """Describes an aligned face.

    Outside the face the picture is made black. (From histograms alone, the mean ICC of AU4, 12 and
    25 on rendered faces is .56 so, .55 where it gets the mean colour of the face, .45 unmasked.)

    Args:
        crop: (S, S, 3) uint8 RGB crop of `FaceAligner`.
        points: (L, 2) landmarks, crop px.

    Returns:
        (HOG_LENGTH + 2 L,) float32: histograms of oriented gradients (of the strongest colour;
        9 orientations, 8 x 8-px cells, 2 x 2 blocks, L2-Hys) of the face, SIDE px wide, and the
        landmarks, 0 to 1 across the crop.

    Raises:
        ValueError: If shapes are wrong, or a landmark is not known.

    References:
        - Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005.
        - Arrotta, "Python library for Action Unit and Emotion recognition with CNNs, SVMs and
          SVRs", 2021: the choice of features, cells and grids.
    """
    import cv2
    from skimage.feature import hog

    if crop.dtype != np.uint8 or crop.ndim != 3 or crop.shape[2] != 3:
        raise ValueError(f"`crop` must be (S, S, 3) uint8. Received: {crop.shape}, {crop.dtype}.")
    if points.ndim != 2 or points.shape[1:] != (2,) or not np.isfinite(points).all():
        raise ValueError(f"`points` must be (L, 2) and finite. Received: shape {points.shape}.")
    places = (points + 0.5) / len(crop)
    image = np.asarray(cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
    image[~face_mask(places)] = 0
    histograms = hog(
        image,
        orientations=9,
        pixels_per_cell=(8, 8),
        cells_per_block=(2, 2),
        block_norm="L2-Hys",
        channel_axis=-1,
    )
    return np.concatenate([histograms, places.ravel()]).astype(np.float32)


def pipeline(task: str) -> Pipeline:
    """Makes an untrained model of a unit.

    Whatever learns from data is a step of it: the components of the histograms (as many as keep
    95 % of their variance), mean and scale of every feature, the machine.

    Args:
        task: `presence` or `intensity`.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.decomposition import PCA
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC, SVR

    machine = SVC(class_weight="balanced") if task == "presence" else SVR()
    few = ColumnTransformer(
        [
            ("hog", PCA(n_components=0.95), slice(0, HOG_LENGTH)),
            ("landmarks", "passthrough", slice(HOG_LENGTH, None)),
        ]
    )
    return Pipeline([("few", few), ("scale", StandardScaler()), ("svm", machine)])


def emotions(present: Mapping[int, bool]) -> dict[str, float]:
    """Says of each emotion which part of its units is seen.

    It is a way to sum up units, not a way to know what somebody feels.

    Args:
        present: FACS number -> whether the unit is seen.

    Returns:
        Emotion -> 0 to 1; NaN where one of its units is not known.

    Example:
        >>> emotions({6: False, 12: True, 14: True})["happiness"]
        0.5
    """
    return {
        name: sum(present[number] for number in units) / len(units)
        if all(number in present for number in units)
        else float("nan")
        for name, units in EMOTIONS.items()
    }


@dataclass(frozen=True, eq=False)
class _Part:
    """Leaves some people out, and describes them by what is learnt of the features of the rest.

    Args:
        rest: (M,) rows of those who are learnt from.
        out: (K,) rows of those who are left out.
        steps: The fitted steps of `pipeline` before the machine.
        values: (M, C) what they make of the rest.
        others: (K, C) what they make of those left out.
    """

    rest: npt.NDArray[np.intp]
    out: npt.NDArray[np.intp]
    steps: list[tuple[str, Any]]
    values: Floats
    others: Floats

    @classmethod
    def of(cls, values: Floats, rest: npt.NDArray[np.intp], out: npt.NDArray[np.intp]) -> _Part:
        """Learns from the rest of (N, F) features, and from nobody else."""
        front = pipeline("presence")[:-1]
        mine = front.fit_transform(values[rest])
        others = front.transform(values[out]) if len(out) else mine[:0]
        return cls(rest, out, front.steps, mine, others)


@dataclass(frozen=True, eq=False)
class _Parts:
    """Divides people for a search.

    Components take far longer to find than a machine to train, and do not depend on what is
    coded: all machines of all units and tasks share them.

    Args:
        everybody: Nobody left out.
        parts: Each with other people left out, until everybody was once.
    """

    everybody: _Part
    parts: list[_Part]

    @classmethod
    def of(cls, values: Floats, people: npt.NDArray[Any]) -> _Parts:
        """Divides the people of (N, F) features."""
        from sklearn.model_selection import GroupKFold

        count = min(_PARTS, len(np.unique(people)))
        if count < 2:
            raise ValueError(f"the search needs at least 2 people; {count} is coded")
        splits = GroupKFold(count).split(values, groups=people)
        parts = [_Part.of(values, rest, out) for rest, out in splits]
        return cls(_Part.of(values, np.arange(len(values)), np.arange(0)), parts)


@dataclass(frozen=True)
class UnitModel:
    """A trained model of one unit and task.

    Args:
        estimator: The fitted `pipeline`.
        slope: Makes a score of the classifier's decision d: 1 / (1 + exp(-slope d)), above 0.5
            where it says yes. It is the best for people it was not fitted on, as if the unit were
            seen in half of all pictures. Of no use to a regression.
        score: F1 of a classifier, mean squared error of a regression, as the search found them.
        rows: Number of crops that it was trained on.
    """

    estimator: Pipeline
    slope: float
    score: float
    rows: int

    @classmethod
    def train(
        cls,
        task: str,
        values: Floats,
        truth: Floats,
        people: npt.NDArray[Any],
        grid: Mapping[str, Sequence[float]],
        known: dict[bytes, _Parts] | None = None,
    ) -> UnitModel:
        """Searches the grid with people kept apart, and fits the best to all.

        Args:
            task: `presence` or `intensity`.
            values: (N, F) features.
            truth: (N,) codes, NaN where not coded: such rows are left out.
            people: (N,) who is seen.
            grid: What is tried.
            known: Keeps, for further units of the same rows, what is learnt of the features alone.

        Raises:
            ValueError: If what is coded does not suffice.
        """
        from sklearn.base import clone
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import f1_score, mean_squared_error
        from sklearn.model_selection import ParameterGrid
        from sklearn.pipeline import Pipeline

        coded = ~np.isnan(truth)
        key, truth = coded.tobytes(), truth[coded]
        known = {} if known is None else known
        if key not in known:
            known[key] = _Parts.of(values[coded], people[coded])
        everybody, parts = known[key].everybody, known[key].parts
        # A part without which nothing is left to tell apart cannot be predicted from the others.
        parts = [part for part in parts if len(np.unique(truth[part.rest])) > 1]
        if len(parts) < 2:
            raise ValueError(
                f"the search needs people with different codes; {len(truth)} crops of "
                f"{len(np.unique(people[coded]))} people are coded, "
                f"{np.count_nonzero(truth)} above 0"
            )
        untrained, is_presence = pipeline(task)[-1], task == "presence"
        best, decisions, score = untrained, list[Any](), np.inf if not is_presence else -np.inf
        for settings in ParameterGrid({name[len("svm__") :]: grid[name] for name in grid}):
            machines = [
                clone(untrained).set_params(**settings).fit(part.values, truth[part.rest])
                for part in parts
            ]
            tried = list(zip(machines, parts, strict=True))
            said = [machine.predict(part.others) for machine, part in tried]
            real = [truth[part.out] for part in parts]
            both = list(zip(real, said, strict=True))
            if is_presence:
                now = float(np.mean([f1_score(*pair, zero_division=0.0) for pair in both]))
            else:
                now = float(np.mean([mean_squared_error(*pair) for pair in both]))
            if now > score if is_presence else now < score:
                best, score = clone(untrained).set_params(**settings), now
                if is_presence:
                    decisions = [m.decision_function(part.others) for m, part in tried]
        slope, seen = 1.0, np.concatenate([truth[part.out] for part in parts])
        if is_presence and len(np.unique(seen)) > 1:
            curve = LogisticRegression(C=1e6, fit_intercept=False, class_weight="balanced")
            curve.fit(np.concatenate(decisions)[:, None], seen)
            slope = max(float(curve.coef_[0, 0]), 0.1)  # a higher decision never says less
        best.fit(everybody.values, truth)
        return cls(Pipeline([*everybody.steps, ("svm", best)]), slope, score, len(truth))

    def predict(self, values: Floats) -> Floats:
        """Returns scores 0-1 or intensities 0-5, (N,), of (N, F) features."""
        if hasattr(self.estimator, "decision_function"):
            decision = np.clip(self.slope * self.estimator.decision_function(values), -50, 50)
            answer = 1.0 / (1.0 + np.exp(-decision))
        else:
            answer = np.clip(self.estimator.predict(values), 0.0, INTENSITY_MAX)
        return np.asarray(answer, np.float32)

    def write(self, path: Path) -> None:
        """Saves it, whole or not at all, in a file that holds no code."""
        import skops.io

        with whole_file(path) as unfinished:
            skops.io.dump(
                {field.name: getattr(self, field.name) for field in dataclasses.fields(self)},
                unfinished,
                compression=zipfile.ZIP_DEFLATED,
            )

    @classmethod
    def read(cls, path: Path) -> UnitModel:
        """Loads it; ValueError if the file is damaged, or holds anything but what `write` saves."""
        import skops.io
        from sklearn.pipeline import Pipeline

        try:
            model = cls(**skops.io.load(path, trusted=[]))
        except _DAMAGE as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise ValueError(f"{path} is damaged, or not ours: {reason}.") from None
        if not isinstance(model.estimator, Pipeline) or not isinstance(model.slope, float):
            raise ValueError(f"{path} is not a model of a unit.")
        return model


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
        folder: `runs/NAME`.
        config: What `config.json` says.
    """

    folder: Path
    config: ClassicConfig

    @classmethod
    def create(cls, config: ClassicConfig, data: PreparedSet, folder: Path) -> ClassicModel:
        """Starts a folder, or finds the one that was started so.

        Raises:
            ValueError: If a unit is not in the data set, or the folder holds something else.
        """
        AUSet(config.aus).points_of(data.aus)
        model = cls(folder, config.of(data))
        path = folder / "config.json"
        if path.exists():
            if ClassicConfig.read(path) != model.config:
                raise ValueError(
                    f"{folder} was made with other settings; repeat them, or choose another --name."
                )
            return model
        model.fold(data)
        folder.mkdir(parents=True, exist_ok=True)
        provenance = {
            "dataset": data.name,
            "description": data.description,
            "licence": data.licence,
            "tfau": __version__,
        }
        settings = {"format": _FORMAT, **dataclasses.asdict(model.config)}
        for name, values in (("provenance.json", provenance), ("config.json", settings)):
            with whole_file(folder / name) as unfinished:
                unfinished.write_text(json.dumps(values, indent=1) + "\n")
        return model

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
        """Says which examples train and which test; nobody is held back to choose anything.

        Raises:
            ValueError: If the data set does not fit the protocol.
        """
        from tfau import protocols

        return protocols.fold_of(self._folds(data), self.config.fold)

    def _folds(self, data: PreparedSet) -> list[Fold]:
        from tfau import protocols

        config = self.config
        return protocols.folds(config.protocol, data.labels, validation=0.0, seed=config.seed)

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
        """
        marks, size = AUSet(self.config.landmarks), self.config.crop_size
        for images, labels in data.batches(rows, marks, size, _BATCH).as_numpy_iterator():
            places = labels["points"][..., :2]
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
        rows, labels = self.training_rows(data), data.labels
        values = np.concatenate(list(self.features(data, rows, advance)))
        people = persons(labels.dataset, labels.subject)[rows]
        known: dict[bytes, _Parts] = {}
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

    def evaluate(self, data: PreparedSet, advance: Advance = _silent) -> Scores:
        """Scores the models on the people of the fold, and writes predictions and tables."""
        from tfau import evaluate, scoring

        fold = self.fold(data)
        columns = [data.aus.index(number) for number in self.aus.numbers]
        predictions = self._predictions(data, fold, advance)
        known = np.ma.masked_invalid(data.labels.intensity[self.training_rows(data)][:, columns])
        constant = np.ma.filled(known.mean(axis=0), np.nan)
        scores = scoring.scores(predictions, constant=constant)
        evaluate.publish(scores, predictions, self.folder)
        return scores

    def _predictions(self, data: PreparedSet, fold: Fold, advance: Advance) -> Predictions:
        from tfau.evaluate import beside_truth

        level = self.config.presence_from
        rendered = _RENDERED if "synthetic_faces" in data.name else ""
        answers = [self.predict(values) for values in self.features(data, fold.test, advance)]
        presence, intensity = (np.concatenate(part) for part in zip(*answers, strict=True))
        return beside_truth(
            data,
            fold.test,
            self.aus,
            intensity=intensity,
            presence=presence,
            fold=fold.name,
            facts={
                "run": self.folder.name,
                "protocol": self.config.protocol,
                "folds_total": str(len(self._folds(data))),
                "note": "; ".join(filter(None, [fold.note, rendered])),
                "presence_from": "" if level is None else f"{level:g}",
            },
        )

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


def describe(
    aus: AUSet, presence: Floats, intensity: Floats, presence_from: float | None = None
) -> str:
    """Says in words what is seen in a face.

    Args:
        aus: The units.
        presence: (A,) scores 0 to 1, NaN where not known; a unit is present from 0.5.
        intensity: (A,) 0 to 5, NaN where not known.
        presence_from: Intensity from which a unit of unknown score counts as present; 1 if None.

    Returns:
        A line for each unit that is known, and one for each emotion.
    """
    level = 1.0 if presence_from is None else presence_from
    seen, lines = {}, []
    for number, likely, strong in zip(aus.numbers, presence, intensity, strict=True):
        if np.isnan(likely) and np.isnan(strong):
            continue
        seen[number] = bool(strong >= level if np.isnan(likely) else likely >= 0.5)
        unit = ACTION_UNITS[number]
        value = "intensity not known" if np.isnan(strong) else f"intensity {strong:.2f}"
        word = "present" if seen[number] else "absent"
        lines.append(f"{unit.label}  {unit.name:<21} {word:<8} {value}")
    for name, part in emotions(seen).items():
        lacking = [ACTION_UNITS[n].label for n in EMOTIONS[name] if n not in seen]
        reason = f"not known: no model of {', '.join(lacking)}"
        lines.append(f"{name:<10} {reason if lacking else f'{part:.2f} of its units'}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Trains models, or asks them about a photo."""
    parser = argparse.ArgumentParser(
        prog="python -m tfau.classic",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="train | image")
    train = commands.add_parser(
        "train",
        help="train models and score them; started again, it goes on where it was stopped",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    train.add_argument("--dataset", default="synthetic_faces/tiny", help="NAME/CONFIG[+NAME ...]")
    train.add_argument("--aus", type=int, nargs="+", default=[12, 25], help="units to learn")
    train.add_argument("--protocol", default="as_prepared", help="how people are divided")
    train.add_argument("--fold", type=int, default=1, help="which of its folds")
    train.add_argument("--limit", type=int, default=2000, help="training crops at most; 0 = all")
    train.add_argument("--grid", default="published", help=f"what is tried: {', '.join(GRIDS)}")
    train.add_argument("--seed", type=int, default=0, help="decides the folds that are drawn")
    train.add_argument("--runs", type=Path, default=Path("runs"), help="folder of run folders")
    train.add_argument("--name", default="classic", help="the folder is RUNS/NAME")
    train.add_argument("--data-dir", help="folder of prepared sets (None: TFDS's own)")
    train.add_argument("--manual-dir", help="folder with the files only their owner hands out")
    image = commands.add_parser("image", help="say which units a photo shows, and how strongly")
    image.add_argument("photo", type=Path, help="a picture file")
    image.add_argument("--model", type=Path, required=True, help="folder that `train` has made")
    args = parser.parse_args(argv)
    require_extra("classic", "skimage", "sklearn", "skops")
    if args.command == "train":
        _train(args)
        return
    model = ClassicModel.open(args.model)
    answer = model.read_photo(args.photo)
    print(describe(model.aus, *answer, presence_from=model.config.presence_from))


def _train(args: argparse.Namespace) -> None:
    require_extra("train", "tensorflow", "tensorflow_datasets", "matplotlib", "pyarrow", "rich")
    settings = {field.name for field in dataclasses.fields(ClassicConfig)} & {*vars(args)}
    config = ClassicConfig(
        **{name: getattr(args, name) for name in settings} | {"aus": (*args.aus,)}
    )
    config.check()
    import_quietly("tensorflow")
    from rich.console import Console
    from rich.progress import Progress

    import tfds_builders
    from tfau.data.pipeline import PreparedSet

    console = Console()
    console.print(f"Preparing {config.dataset}", highlight=False)
    names = [name.strip() for name in config.dataset.split("+")]
    data = PreparedSet(
        *(tfds_builders.prepare(name, args.data_dir, args.manual_dir) for name in names)
    )
    model = ClassicModel.create(config, data, args.runs / args.name)

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    with Progress(console=console, transient=True) as progress, _kept(model, say):
        bar = progress.add_task("training crops", total=int(model.training_rows(data).sum()))
        model.train(data, lambda count: progress.advance(bar, count), say)
        progress.remove_task(bar)
        bar = progress.add_task("test crops", total=int(model.fold(data).test.sum()))
        scores = model.evaluate(data, lambda count: progress.advance(bar, count))
    scores.show_briefly()
    say(
        f"Models, predictions, tables and pictures: {model.folder}\nNext:\n"
        f"  python -m tfau.evaluate {model.folder / 'predictions.parquet'}\n"
        f"  python -m tfau.classic image PHOTO --model {model.folder}"
    )


@contextlib.contextmanager
def _kept(model: ClassicModel, say: Callable[[str], None]) -> Iterator[None]:
    """Says after Ctrl-C what is kept."""
    try:
        yield
    except KeyboardInterrupt:
        count = len(list(model.folder.glob("AU*.skops")))
        say(f"Stopped; {count} models are kept. The same command goes on from there.")
        raise


if __name__ == "__main__":
    sys.exit(run_cli(main))
