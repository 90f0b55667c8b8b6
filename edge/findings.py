"""What a table of action units says of one face: expressions, events, statistics."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.tables import FaceTable
from tfau.core import events as happenings
from tfau.core import expressions as shown
from tfau.core.action_units import AUSet
from tfau.core.events import Event
from tfau.core.expressions import EMOTIONS, FINE, NEUTRAL, SHOWN, ExpressionSet
from tfau.core.files import whole_file
from tfau.core.signals import sample_spans

Floats = npt.NDArray[np.float64]
_USUAL = FINE.of(*SHOWN)


@dataclass(frozen=True)
class Questions:
    """Says what is asked of a table.

    Args:
        expressions: Expressions to score.
        top: How many of each moment are told of.
        smooth_s: Time constant of the smoothing of scores, seconds; 0 = none.
        window_s: Length of the window over which expressions are added up, seconds.
        threshold: Score from which a face shows something; None = 90th percentile of its scores.
        on: Intensity that makes an event of a unit.
        off: Intensity at which it is over.
    """

    expressions: ExpressionSet = _USUAL
    top: int = 3
    smooth_s: float = 0.1
    window_s: float = 10.0
    threshold: float | None = None
    on: float = 1.0
    off: float = 0.5

    def describe(self) -> dict[str, Any]:
        """Returns the settings for a sidecar."""
        return {
            "expressions": {
                e.name: {
                    "code": {f"AU{n:02d}": w for n, w in e.code.items()},
                    "valence": e.valence,
                    "arousal": e.arousal,
                    "lowered_by": {f"AU{n:02d}": w for n, w in e.lowered_by.items()},
                    "alone": e.alone,
                }
                for e in self.expressions
            },
            "top": self.top,
            "smooth_s": self.smooth_s,
            "window_s": self.window_s,
            "threshold": self.threshold or "90th percentile of the scores of a face",
            "least_coverage": shown.COVERAGE,
            "event_on": self.on,
            "event_off": self.off,
        }


@dataclass(frozen=True, eq=False)
class Findings:
    """Holds what was found of one face.

    Args:
        face: Its table.
        questions: What was asked.
        scores: (T, E + 1) scores, the last column that of `NEUTRAL`.
        threshold: Score from which it shows something; NaN if nothing is known.
        ranks: (T, k) columns of the highest scores.
        recent: (T, E) weight of each expression over the window, seconds.
        events: All events, by onset.
    """

    face: FaceTable
    questions: Questions
    scores: Floats
    threshold: float
    ranks: npt.NDArray[np.intp]
    recent: Floats
    events: tuple[Event, ...]

    @classmethod
    def of(cls, face: FaceTable, questions: Questions) -> Findings:
        """Asks a table."""
        asked, times = questions.expressions, face.times_s
        plain = asked.score(face.levels, face.aus)
        if questions.smooth_s:
            plain = shown.smoothed(times, plain, questions.smooth_s)
        threshold = questions.threshold or shown.neutral_threshold(plain)
        scores = shown.with_neutral(plain, threshold)
        found = [
            event
            for column, name in enumerate(face.aus.names)
            for event in happenings.unit_events(
                name, times, face.levels[:, column], on=questions.on, off=questions.off
            )
        ]
        found += happenings.blinks(times, _closure(face)) + happenings.tracks(
            times, plain, asked.names
        )
        return cls(
            face=face,
            questions=questions,
            scores=scores,
            threshold=float(threshold),
            ranks=shown.top(scores, questions.top),
            recent=shown.cumulated(
                times, shown.top(plain, questions.top), len(asked), questions.window_s
            ),
            events=tuple(sorted(found, key=lambda event: (event.onset_s, event.kind))),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of `scores`."""
        return (*self.questions.expressions.names, NEUTRAL)

    @property
    def active(self) -> npt.NDArray[np.bool_]:
        """(T, A) whether a unit reaches what makes an event."""
        return np.asarray(np.nan_to_num(self.face.levels) >= self.questions.on)

    def lately(self, row: int) -> str:
        """Names the expression that weighs most over the window that ends at a row."""
        weights = self.recent[row]
        return self.names[int(weights.argmax())] if weights.size and weights.max() > 0 else ""

    def summary(self) -> dict[str, Any]:
        """Returns statistics; times in seconds, None where nothing is known."""
        face, spans = self.face, sample_spans(self.face.times_s)
        blinks = self._count("blink")
        lids = ~np.isnan(_closure(face))
        seen_s = happenings.observed_s(face.times_s, lids)
        skew = happenings.asymmetry(face.left, face.right, threshold=self.questions.on)
        together = happenings.co_occurrence(face.times_s, self.active)
        units = {}
        for column, name in enumerate(face.aus.names):
            levels = face.levels[:, column]
            own = [event for event in self.events if event.kind == name]
            units[name] = {
                **_statistics(face.times_s, levels, spans),
                "active_s": _round(spans[self.active[:, column]].sum()),
                "events": len(own),
                "mean_duration_s": _round(np.mean([e.duration_s for e in own]) if own else None),
                "asymmetry": _round(skew[column]),
            }
        emotions = EMOTIONS.detected(face.levels, face.aus, threshold=self.questions.on)
        return {
            "face_id": face.face_id,
            "frames": len(face),
            "observed_s": _round(spans.sum()),
            "quality": _round(
                np.nanmean(face.quality) if (~np.isnan(face.quality)).any() else None
            ),
            "neutral_threshold": _round(self.threshold),
            "units": units,
            "expressions": {
                name: {
                    **_statistics(face.times_s, self.scores[:, column], spans),
                    "first_s": _round(spans[self.ranks[:, 0] == column].sum()),
                }
                for column, name in enumerate(self.names)
            },
            "emotions": {
                name: _statistics(face.times_s, emotions[:, column], spans)
                for column, name in enumerate(EMOTIONS.names)
            },
            "stretches": {
                kind: {
                    "count": self._count(kind),
                    "seconds": _round(
                        sum(event.duration_s for event in self.events if event.kind == kind)
                    ),
                }
                for kind in ("dominant", "two-fold", "volatile")
            },
            "blinks": blinks,
            "blinks_per_minute": _round(60 * blinks / seen_s if seen_s else None),
            "co_occurrence": {
                one: {
                    other: _round(together[i, j])
                    for j, other in enumerate(face.aus.names)
                    if i != j and together[i, j] > 0
                }
                for i, one in enumerate(face.aus.names)
            },
        }

    def _count(self, kind: str) -> int:
        return sum(event.kind == kind for event in self.events)


def _closure(face: FaceTable) -> Floats:
    """Returns how far the lids are closed, (T,): AU45, else AU43."""
    for number in (45, 43):
        if number in face.aus.numbers:
            return face.levels[:, face.aus.index(number)]
    return np.full(len(face), np.nan)


def _statistics(times_s: Floats, values: Floats, spans: Floats) -> dict[str, Any]:
    """Weighs samples by the time for which they stand."""
    known = ~np.isnan(values)
    if not known.any():
        return {"mean": None, "sd": None, "max": None, "max_at_s": None}
    weights = spans[known] if spans[known].sum() > 0 else np.ones(int(known.sum()))
    mean = float(np.average(values[known], weights=weights))
    best = int(np.where(known, values, -np.inf).argmax())
    return {
        "mean": _round(mean),
        "sd": _round(np.sqrt(np.average((values[known] - mean) ** 2, weights=weights))),
        "max": _round(values[best]),
        "max_at_s": _round(times_s[best]),
    }


def _round(value: Any) -> float | None:
    return None if value is None or np.isnan(value) else round(float(value), 3)


def together(found: Sequence[Findings]) -> list[dict[str, Any]]:
    """Correlates every two faces, unit by unit: r, and by how many seconds the second follows."""
    rows = []
    for place, one in enumerate(found):
        for other in found[place + 1 :]:
            both = AUSet([n for n in one.face.aus.numbers if n in other.face.aus.numbers])
            r, lag = happenings.synchrony(
                (one.face.times_s, other.face.times_s),
                (_columns(one.face, both), _columns(other.face, both)),
            )
            rows.append(
                {
                    "faces": [one.face.face_id, other.face.face_id],
                    "r": dict(zip(both.names, map(_round, r), strict=True)),
                    "lag_s": dict(zip(both.names, map(_round, lag), strict=True)),
                }
            )
    return rows


def _columns(face: FaceTable, aus: AUSet) -> Floats:
    return face.levels[:, [face.aus.index(number) for number in aus.numbers]]


def write_expressions(found: Sequence[Findings], path: Path) -> None:
    """Writes the scores of all faces, a row for each face in each frame.

    Columns: `frame`, `face_id`, `timestamp` (s), one for each expression (0 to 1), `top_1`... the
    highest in words, and `lately`, the expression that weighs most over the window so far.
    """
    if not found:
        names, top = Questions().expressions.names, Questions().top
    else:
        names, top = found[0].names, found[0].questions.top

    def rows() -> Iterator[list[Any]]:
        yield [
            *("frame", "face_id", "timestamp"),
            *names,
            *(f"top_{place + 1}" for place in range(top)),
            "lately",
        ]
        for one in found:
            face = one.face
            for row in range(len(face)):
                ranked = [names[i] if i >= 0 else "" for i in one.ranks[row]]
                yield [
                    int(face.frames[row]),
                    face.face_id,
                    f"{face.times_s[row]:.3f}",
                    *("" if np.isnan(s) else f"{s:.3f}" for s in one.scores[row]),
                    *ranked,
                    *[""] * (top - len(ranked)),
                    one.lately(row),
                ]

    _write(rows(), path)


def write_events(found: Sequence[Findings], path: Path) -> None:
    """Writes the events of all faces: times in seconds, amplitude in intensity or score."""

    def rows() -> Iterator[list[Any]]:
        yield [
            *("face_id", "event", "expressions", "onset", "apex", "offset", "duration"),
            "amplitude",
        ]
        for one in found:
            for event in one.events:
                times = (event.onset_s, event.apex_s, event.offset_s, event.duration_s)
                yield [
                    one.face.face_id,
                    event.kind,
                    " + ".join(event.names),
                    *(f"{value:.3f}" for value in (*times, event.amplitude)),
                ]

    _write(rows(), path)


def _write(rows: Iterator[list[Any]], path: Path) -> None:
    with whole_file(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def peaks(found: Sequence[Findings]) -> list[tuple[int, int, str, str, float]]:
    """Names the moments worth a picture.

    Returns:
        Of every face and each of its units that was there, and each expression that reached the
        threshold, at its peak: face, number of the frame, `unit` or `expression`, name, value.
    """
    moments = []
    for one in found:
        tables: tuple[tuple[str, Sequence[str], Floats, float], ...] = (
            ("unit", one.face.aus.names, one.face.levels, one.questions.on),
            ("expression", one.names[:-1], one.scores[:, :-1], one.threshold),
        )
        for kind, names, values, least in tables:
            for column, name in enumerate(names):
                series = np.nan_to_num(values[:, column], nan=-1.0)
                if len(series) and series.max() >= least:
                    best = int(series.argmax())
                    frame, value = int(one.face.frames[best]), float(series[best])
                    moments.append((one.face.face_id, frame, kind, name, value))
    return moments


def table_of(summary: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the rows of the table of several videos, one for each face."""
    for face in summary["faces"]:
        yield {
            "video": summary["video"],
            **{name: face[name] for name in ("face_id", "frames", "observed_s", "quality")},
            "blinks_per_minute": face["blinks_per_minute"],
            **{
                f"{name}_{what}": values[what]
                for name, values in face["units"].items()
                for what in ("mean", "max", "active_s", "events")
            },
            **{
                f"{name.replace(' ', '_')}_mean": values["mean"]
                for name, values in face["expressions"].items()
            },
        }
