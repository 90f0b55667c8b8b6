"""What predictions are worth: tables of agreement, with intervals, beside what was published."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tfau.core.action_units import INTENSITY_MAX
from tfau.core.agreement import PRESENCE_METRICS, Interval, bootstrap, mae, mse
from tfau.core.examples import EMOTIONS
from tfau.predictions import Predictions
from tfau.protocols import MARKS, Published, Strings, base_name, persons, published
from tfau.tables import UNKNOWN, Grid, csv_text, exact, rounded

Floats = npt.NDArray[np.floating[Any]]

OURS = "these predictions"


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Holds scores of A units and of their mean, and prints them in four languages.

    Args:
        title: What is scored.
        units: (A,) names of the units.
        metrics: Name of a metric -> values and intervals, (A + 1,), the mean last.
        coded: (A,) number of frames in which the unit is coded.
        positive: (A,) number of frames in which it is present, with intensity 1 or more.
        threshold: (A,) what a unit must reach to count as seen, e.g. `intensity 2`; empty where
            nothing is decided.
        constant: `MAE` and `MSE`, (A + 1,), of answering always the same; empty if not known.
        published: What others have published on the same protocol.
        notes: Sentences to be read with the table.
        group: Kind of person that is scored; empty: everybody.
        of: What a row is about.
    """

    title: str
    units: tuple[str, ...]
    metrics: dict[str, Interval]
    coded: npt.NDArray[np.integer[Any]]
    positive: npt.NDArray[np.integer[Any]]
    threshold: tuple[str, ...] = ()
    constant: dict[str, Floats] = field(default_factory=dict)
    published: tuple[Published, ...] = ()
    notes: tuple[str, ...] = ()
    group: str = ""
    of: str = "AU"

    def show(self, *, counts: bool = True) -> None:
        """Prints to the terminal, with or without the numbers of rows."""
        for grid in self._grids(counts=counts):
            grid.show()

    def markdown(self) -> str:
        """Writes Markdown."""
        return "\n\n".join(grid.markdown() for grid in self._grids())

    def latex(self) -> str:
        """Writes LaTeX; needs the package booktabs."""
        return "\n\n".join(grid.latex() for grid in self._grids())

    def csv(self) -> str:
        """Writes CSV, intervals in columns of their own; an empty cell is not known."""
        return csv_text(self.records())

    def records(self) -> list[dict[str, str]]:
        """Returns the rows of the CSV: ours, then those of each paper in the same columns."""
        rows = []
        for row, unit in enumerate((*self.units, "mean")):
            record = {"table": self.title, "group": self.group, "source": OURS, self.of: unit}
            if row < len(self.units):
                record |= {"coded": str(self.coded[row]), "positive": str(self.positive[row])}
                record |= {"threshold": self.threshold[row]} if self.threshold else {}
            for name, interval in self.metrics.items():
                record[name] = exact(interval.value[row])
                record[f"{name}_low"] = exact(interval.low[row])
                record[f"{name}_high"] = exact(interval.high[row])
            for name, values in self.constant.items():
                record[f"{name}_constant"] = exact(values[row])
            rows.append(record)
        for paper in self.published:
            source = {"table": self.title, "group": "", "source": _cite(paper)}
            remark = {"mark": paper.mark, "remark": paper.note}
            for unit, value in _by_name(paper).items():
                rows.append({**source, "AU": unit, paper.metric: exact(value), **remark})
        return rows

    def _grids(self, *, counts: bool = True) -> Iterator[Grid]:
        title = self.title + (f", {self.group}" if self.group else "")
        header = [self.of, *(["coded", "positive"] if counts else []), *self.metrics]
        header += [f"{name} const." for name in self.constant]
        rows = [header]
        for row, unit in enumerate((*self.units, "mean")):
            known = row < len(self.units)
            cells = [str(self.coded[row]), str(self.positive[row])] if known else ["", ""]
            cells = cells if counts else []
            cells += [_with_interval(interval, row) for interval in self.metrics.values()]
            cells += [rounded(values[row]) for values in self.constant.values()]
            rows.append([unit, *cells])
        yield Grid(title, rows, self.notes, rules=(len(self.units) + 1,))
        if self.published:
            yield self._comparison()

    def _comparison(self) -> Grid:
        """Sets published values below ours, a row for each paper, as papers do."""
        known = {unit for paper in self.published for unit in _by_name(paper)}
        units = [unit for unit in (*self.units, "mean") if unit in known]
        remarks = dict.fromkeys(paper.note for paper in self.published if paper.note)
        letters = dict(zip(remarks, "abcdefghijklmnopqrstuvwxyz", strict=False))
        rows, rules = [["metric", "source", *units]], []
        for metric in dict.fromkeys(paper.metric for paper in self.published):
            rules.append(len(rows))
            ours, decimals = self.metrics[metric], 3 if metric == "F1" else 2
            index = [self.units.index(unit) for unit in units if unit != "mean"]
            cells = [rounded(ours.value[row], decimals) for row in index]
            cells += [_with_interval(ours, -1, decimals)] * ("mean" in units)
            rows.append([metric, OURS, *cells])
            for paper in self.published:
                if paper.metric == metric:
                    signs = [paper.mark, *letters.get(paper.note, "")]
                    values = _by_name(paper)
                    cells = [rounded(values.get(unit), decimals) for unit in units]
                    rows.append([metric, f"{_cite(paper)} [{', '.join(signs)}]", *cells])
        marks = {paper.mark for paper in self.published}
        notes = [f"{mark}: {text}." for mark, text in MARKS.items() if mark in marks]
        notes += [f"{letter}: {remark}." for remark, letter in letters.items()]
        notes.append("Papers may average folds, which are pooled here, and crop faces otherwise.")
        title = f"{self.title}, beside what was published on the same protocol"
        return Grid(title, rows, tuple(notes), rules=tuple(rules), words=2)


@dataclass(frozen=True, eq=False)
class Scores:
    """Holds what predictions are worth.

    Args:
        intensity: Scores of the intensity; None if nothing is coded or estimated.
        presence: Scores of the presence; likewise.
        emotion: Scores of the emotion; likewise.
        groups: The same for each kind of person, if there are two or more.
    """

    intensity: ScoreTable | None
    presence: ScoreTable | None
    emotion: ScoreTable | None = None
    groups: dict[str, Scores] = field(default_factory=dict)

    @property
    def tables(self) -> list[ScoreTable]:
        """All tables, those of the groups last."""
        known = (self.intensity, self.presence, self.emotion)
        here = [table for table in known if table is not None]
        return here + [table for group in self.groups.values() for table in group.tables]

    def show(self) -> None:
        """Prints all tables to the terminal."""
        for table in self.tables:
            table.show()

    def show_briefly(self) -> None:
        """Prints what fits a narrow terminal: two metrics of the first question."""
        table = self.tables[0]
        main = ("ICC", "MAE", "F1", "AUC")
        dataclasses.replace(
            table,
            metrics={name: values for name, values in table.metrics.items() if name in main},
            constant={name: values for name, values in table.constant.items() if name in main},
            published=(),
        ).show(counts=False)

    def markdown(self) -> str:
        """Writes all tables as Markdown."""
        return "\n\n".join(table.markdown() for table in self.tables) + "\n"

    def latex(self) -> str:
        """Writes all tables as LaTeX; needs the package booktabs."""
        return "\n\n".join(table.latex() for table in self.tables) + "\n"

    def csv(self) -> str:
        """Writes all tables as one CSV; the first columns say which table a row is of."""
        return csv_text([record for table in self.tables for record in table.records()])


def scores(
    predictions: Predictions,
    *,
    threshold: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
    constant: npt.ArrayLike | None = None,
) -> Scores:
    """Scores predictions over all of their rows at once, not fold by fold.

    Args:
        predictions: What is true and what a network says.
        threshold: Score from which a unit counts as seen. None: a probability of 0.5 where there
            are probabilities; elsewhere the intensity from which it counts as present in the
            truth, or 1 if that is not known.
        resamples: Draws of the bootstrap over people.
        seed: Decides the draws.
        constant: (A,) what a constant predictor answers, e.g. the mean of the training people.
            Not looked at if there are several folds: then it is the mean of the other folds.

    Returns:
        The tables, of the units that are coded and estimated.

    Raises:
        ValueError: If there is none.
    """
    people = persons(predictions.dataset, predictions.subject)
    tasks = (_intensity(predictions, constant), _presence(predictions, threshold))

    def of(rows: npt.NDArray[np.bool_], group: str = "") -> Scores:
        here, who = predictions.take(rows), people[rows]
        intensity, presence = (
            _table(task.take(rows), here, who, group, resamples, seed) for task in tasks
        )
        return Scores(intensity, presence, _emotion(here, who, group, resamples, seed))

    everybody = of(np.ones(len(predictions), bool))
    if not everybody.tables:
        raise ValueError("No unit is both coded and estimated, so there is nothing to score.")
    names = [str(name) for name in np.unique(predictions.group) if name]
    groups = {name: of(predictions.group == name, name) for name in names} if names[1:] else {}
    return dataclasses.replace(everybody, groups=groups)


@dataclass(frozen=True, eq=False)
class _Task:
    """One of the two questions, for the units that are estimated.

    Args:
        kind: `intensity` or `occurrence`, as papers say.
        metrics: Names of its metrics.
        numbers: (A,) FACS numbers.
        truth: (N, A).
        estimate: (N, A).
        threshold: (A,) from where a unit counts as seen; of no use to intensity.
        decision: (A,) the same in words.
        constant: (N, A) answers of a constant predictor, NaN where not known.
        notes: Sentences about these.
    """

    kind: str
    metrics: tuple[str, ...]
    numbers: npt.NDArray[np.int64]
    truth: Floats
    estimate: Floats
    threshold: Floats
    decision: tuple[str, ...] = ()
    constant: Floats | None = None
    notes: tuple[str, ...] = ()

    def take(self, rows: npt.NDArray[np.bool_]) -> _Task:
        constant = None if self.constant is None else self.constant[rows]
        truth, estimate = self.truth[rows], self.estimate[rows]
        return dataclasses.replace(self, truth=truth, estimate=estimate, constant=constant)


def _intensity(predictions: Predictions, constant: npt.ArrayLike | None) -> _Task:
    truth, estimate = predictions.intensity_true, predictions.intensity
    units = ~np.isnan(estimate).all(axis=0)
    answer: Floats | None = None
    notes: tuple[str, ...] = ()
    folds = np.unique(predictions.fold)
    if len(folds) > 1:
        answer = np.full(truth.shape, np.nan)
        for fold in folds:
            other = truth[predictions.fold != fold]
            count = (~np.isnan(other)).sum(axis=0)
            mean = np.nansum(other, axis=0, dtype=np.float64) / np.maximum(count, 1)
            answer[predictions.fold == fold] = np.where(count, mean, np.nan)
        notes = ("A constant answers with the mean of the truth of the other folds.",)
    elif constant is not None:
        answer = np.broadcast_to(np.asarray(constant, np.float64), truth.shape)
        notes = ("A constant answers with the mean of the truth of the training people.",)
    return _Task(
        kind="intensity",
        metrics=("ICC", "PCC", "MAE", "MSE"),
        numbers=np.array(predictions.aus.numbers)[units],
        truth=truth[:, units],
        estimate=np.clip(estimate[:, units], 0.0, INTENSITY_MAX),
        threshold=np.ones(int(units.sum())),
        constant=None if answer is None else answer[:, units],
        notes=notes,
    )


def _presence(predictions: Predictions, threshold: float | None) -> _Task:
    likely = ~np.isnan(predictions.presence).all(axis=0)
    units = likely | ~np.isnan(predictions.intensity).all(axis=0)
    level = _present_from(predictions)
    usual = np.where(likely, 0.5, 1.0 if level is None else level)
    limit = (usual if threshold is None else np.full(len(usual), threshold))[units]
    kind = np.where(likely, "probability", "intensity")[units]
    decision = [f"{word} {value:g}" for word, value in zip(kind, limit, strict=True)]
    names = np.array(predictions.aus.names)[units]
    several = len(set(decision)) > 1
    rules = []
    for rule in dict.fromkeys(decision):
        whose = ", ".join(names[np.array(decision) == rule])
        rules.append(f"{rule}{f' ({whose})' if several else ''}")
    truth = "as it was coded" if level is None else f"intensity {level:g} or more"
    return _Task(
        kind="occurrence",
        metrics=tuple(PRESENCE_METRICS),
        numbers=np.array(predictions.aus.numbers)[units],
        truth=predictions.presence_true[:, units],
        estimate=np.where(likely, predictions.presence, predictions.intensity)[:, units],
        threshold=limit,
        decision=tuple(decision),
        notes=(f"A unit counts as seen from {' and '.join(rules)}; truth: {truth}.",),
    )


def _table(
    task: _Task, predictions: Predictions, people: Strings, group: str, resamples: int, seed: int
) -> ScoreTable | None:
    """Scores a task on the units that are coded; None if there is none."""
    coded = ~np.isnan(task.truth)
    units = coded.any(axis=0)
    if not units.any():
        return None
    truth, estimate = task.truth[:, units], task.estimate[:, units]
    metrics = bootstrap(
        truth,
        estimate,
        people,
        task.metrics,
        threshold=task.threshold[units],
        resamples=resamples,
        seed=seed,
    )
    constant = {}
    if task.constant is not None:
        answer = task.constant[:, units]
        unknown = (coded[:, units] & np.isnan(answer)).any(axis=0)
        for name, metric in (("MAE", mae), ("MSE", mse)):
            values = np.where(unknown, np.nan, metric(truth, answer))
            if not unknown.all():
                constant[name] = np.append(values, values[~unknown].mean())
    numbers = [int(number) for number in task.numbers[units]]
    papers, reason = ([], "") if group else _published(task.kind, numbers, predictions)
    drawn = len(np.unique(people[coded.any(axis=1)]))
    doubt = "No intervals: they need at least two people."
    if drawn > 1:
        doubt = f"In brackets: the middle 95 % of {resamples} draws of these {drawn} people."
    return ScoreTable(
        title="Intensity" if task.kind == "intensity" else "Presence",
        units=tuple(f"AU{number:02d}" for number in numbers),
        metrics=metrics,
        coded=coded[:, units].sum(axis=0),
        positive=(truth >= 1).sum(axis=0),
        threshold=tuple(np.array(task.decision)[units].tolist()) if task.decision else (),
        constant=constant,
        published=tuple(papers),
        notes=(_facts(predictions), doubt, *task.notes, *([reason] if reason else [])),
        group=group,
    )


def _emotion(
    predictions: Predictions, people: Strings, group: str, resamples: int, seed: int
) -> ScoreTable | None:
    """Scores the most probable emotion of faces that show one; None if there is none."""
    coded = ~np.isnan(predictions.emotion_true).any(axis=1)
    truth, estimate = predictions.emotion_true[coded], predictions.emotion[coded]
    if not coded.any() or np.isnan(estimate).all():
        return None
    people, shown = people[coded], truth.any(axis=0)
    found = 1 - np.isnan(estimate).any(axis=1, keepdims=True)  # no face, no emotion: a miss
    said = np.eye(len(EMOTIONS))[np.nan_to_num(estimate).argmax(axis=1)] * found

    def scored(truth: Floats, said: Floats, *metrics: str) -> dict[str, Interval]:
        return bootstrap(truth, said, people, metrics, resamples=resamples, seed=seed)

    # Among the faces that show an emotion, the share of right decisions is the recall of it.
    recall = scored(np.where(truth == 1, 1.0, np.nan)[:, shown], said[:, shown], "accuracy")
    right = (truth * said).sum(axis=1, keepdims=True)
    accuracy = scored(np.ones_like(right), right, "accuracy")["accuracy"]
    pairs = (truth.T @ said).astype(int)
    mistakes = sorted((-pairs[a, b], a, b) for a, b in np.argwhere(pairs) if a != b)
    common = int(truth.sum(axis=0).argmax())
    words = [f"{EMOTIONS[a]} for {EMOTIONS[b]} {-count}" for count, a, b in mistakes]
    return ScoreTable(
        title="Emotion",
        units=tuple(np.array(EMOTIONS)[shown].tolist()),
        metrics={
            **scored(truth[:, shown], said[:, shown], "F1"),
            "recall": recall["accuracy"],
            **scored(truth[:, shown], estimate[:, shown], "AUC"),
        },
        coded=np.full(int(shown.sum()), len(truth)),
        positive=truth[:, shown].sum(axis=0).astype(int),
        notes=(
            _facts(predictions),
            f"Faces that show one of the emotions: {len(truth)}; no other counts.",
            f"Accuracy: {_with_interval(accuracy, 0)}.",
            f"Accuracy of always {EMOTIONS[common]}: {rounded(truth[:, common].mean())}.",
            f"Mistaken: {', '.join(words) or 'none'}.",
        ),
        group=group,
        of="emotion",
    )


def _present_from(predictions: Predictions) -> float | None:
    """Reads from the facts the intensity from which the truth is present, if there is one."""
    try:
        return float(predictions.facts.get("presence_from", ""))
    except ValueError:
        return None


def _facts(predictions: Predictions) -> str:
    """Says in a sentence what was scored."""
    sets = ", ".join(str(name) for name in np.unique(predictions.dataset))
    done, total = predictions.folds
    words = [f"{len(predictions)} frames of {sets}"]
    if protocol := predictions.facts.get("protocol"):
        words.append(f"protocol {protocol}" + (f", {done} of {total} folds" if total else ""))
    if note := predictions.facts.get("note"):
        words.append(note)
    return f"{'; '.join(words)}."


def _published(
    kind: str, units: Sequence[int], predictions: Predictions
) -> tuple[list[Published], str]:
    """Finds published results beside which these predictions may stand, or why there are none."""
    sets = sorted({base_name(str(name)) for name in np.unique(predictions.dataset)})
    done, total = predictions.folds
    if len(sets) > 1:
        return [], f"Published results are of one data set; these are of {' and '.join(sets)}."
    if "protocol" not in predictions.facts or total is None:
        return [], "Nothing published stands beside, because the protocol is not known."
    return published(
        sets[0],
        kind,
        units,
        predictions.facts["protocol"],
        done,
        total,
        subjects=np.unique(predictions.subject).tolist(),
        presence_from=_present_from(predictions),
    )


def _cite(paper: Published) -> str:
    return f"{paper.method}, {paper.venue}"


def _by_name(paper: Published) -> dict[str, float]:
    """Returns published values by `AU06` and `mean`, as far as they are known."""
    values = {f"AU{unit:02d}": value for unit, value in paper.values.items()}
    return values if paper.mean is None else values | {"mean": paper.mean}


def _with_interval(interval: Interval, row: int, decimals: int = 2) -> str:
    value, low, high = (
        rounded(values[row], decimals) for values in (interval.value, interval.low, interval.high)
    )
    return value if low == UNKNOWN else f"{value} [{low}, {high}]"
