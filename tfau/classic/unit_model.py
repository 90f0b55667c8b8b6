"""A support vector machine for one unit: its pipeline, its search, its file."""

from __future__ import annotations

import dataclasses
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tfau.classic.features import HOG_LENGTH, Floats
from tfau.core.action_units import INTENSITY_MAX
from tfau.core.files import whole_file

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

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

_PARTS = 5  # of the people, in the search
# What readers of zips, of JSON, of arrays and of the objects in them raise.
_DAMAGE = (
    *(AttributeError, EOFError, ImportError, LookupError, OSError, RuntimeError, TypeError),
    *(ValueError, zipfile.BadZipFile, zlib.error),
)


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
class Parts:
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
    def of(cls, values: Floats, people: npt.NDArray[Any]) -> Parts:
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
        known: dict[bytes, Parts] | None = None,
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
            known[key] = Parts.of(values[coded], people[coded])
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
