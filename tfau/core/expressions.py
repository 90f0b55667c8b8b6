"""Expressions as sums of action units: the tables, their scores, and what they tell over time.

Everything is in seconds and never in frames, and a unit that is not known counts nowhere.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfau.core.action_units import ACTION_UNITS, INTENSITY_MAX, AUSet
from tfau.core.signals import sample_spans

Floats = npt.NDArray[np.float64]

COVERAGE = 0.5
"""Least share of an expression's weights whose units must be known."""

NEUTRAL = "peaceful"
"""Name of the expression of a face that shows none."""


@dataclass(frozen=True)
class Expression:
    """Describes an expression.

    Args:
        name: What it is called.
        code: Its units and how much each weighs, above 0 to 1.
        valence: -1 unpleasant, 0, 1 pleasant.
        arousal: -1 calm, 0, 1 excited.
        lowered_by: Units that speak against it, and how much of it they take away at intensity 5.
        alone: Whether every other unit speaks against it: as much as the strongest of them.
    """

    name: str
    code: Mapping[int, float]
    valence: int = 0
    arousal: int = 0
    lowered_by: Mapping[int, float] = field(default_factory=dict)
    alone: bool = False

    def __post_init__(self) -> None:
        numbers = [*self.code, *self.lowered_by]
        if unknown := [number for number in numbers if number not in ACTION_UNITS]:
            raise ValueError(f"Expression {self.name!r}: there is no AU {unknown[0]} here.")
        if not self.code:
            raise ValueError(f"Expression {self.name!r} has no unit in its code.")
        if not all(0 < weight <= 1 for weight in [*self.code.values(), *self.lowered_by.values()]):
            raise ValueError(f"Expression {self.name!r}: weights must be above 0 to 1.")
        if both := set(self.code) & set(self.lowered_by):
            raise ValueError(
                f"Expression {self.name!r}: AU {both.pop()} speaks for it and against."
            )
        if not {self.valence, self.arousal} <= {-1, 0, 1}:
            raise ValueError(f"Expression {self.name!r}: valence and arousal are -1, 0 or 1.")


class ExpressionSet(tuple[Expression, ...]):
    """Orders expressions, and with them the columns of their scores.

    Example:
        >>> aus = AUSet([6, 12, 15, 25])
        >>> FINE.of("happy").score([[5, 5, 0, 5], [5, 5, 5, 5], [0, 5, 0, np.nan]], aus).round(2)
        array([[1.  ],
               [0.5 ],
               [0.66]])
    """

    __slots__ = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names, in order."""
        return tuple(expression.name for expression in self)

    def of(self, *names: str) -> ExpressionSet:
        """Chooses expressions; ValueError if there is no such name."""
        known = {expression.name: expression for expression in self}
        for name in names:
            if name not in known:
                raise ValueError(f"There is no expression {name!r}. Known: {', '.join(known)}.")
        return ExpressionSet(known[name] for name in names)

    @classmethod
    def read(cls, path: Path) -> ExpressionSet:
        """Reads codes of one's own.

            [skeptical]
            code = {AU02 = 1.0, AU14 = 0.5}
            valence = -1                  # this and all below may be left out
            arousal = 0
            lowered_by = {AU12 = 0.5}
            alone = false

        Raises:
            ValueError: If it is no such file; the message names the expression.
            OSError: If it cannot be read.
        """
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is no TOML file: {error}.") from None
        found = []
        for name, table in tables.items():
            allowed = {"code", "valence", "arousal", "lowered_by", "alone"}
            if not isinstance(table, dict) or "code" not in table or set(table) - allowed:
                raise ValueError(
                    f"{path}: [{name}] must have `code` and may have {', '.join(sorted(allowed))}."
                )
            try:
                units = {key: _weights(table.get(key, {})) for key in ("code", "lowered_by")}
                found.append(Expression(name, **{**table, **units}))
            except (TypeError, AttributeError, ValueError) as error:
                raise ValueError(f"{path}: [{name}]: {error}") from None
        if not found:
            raise ValueError(f"{path} holds no expression.")
        return cls(found)

    def score(self, levels: npt.ArrayLike, aus: AUSet, *, coverage: float = COVERAGE) -> Floats:
        """Says how far each expression is shown.

        The mean of the units of its code, 0 to 1, each counting as its weight says, times what is
        left of it by the units that speak against it. Units that are not known count neither above
        nor below the line, and nothing speaks against an expression that is not known.

        Args:
            levels: (T, A) intensities, 0 to 5; NaN where not known.
            aus: The units of the columns.
            coverage: Least share of an expression's weights whose units must be known.

        Returns:
            (T, E) scores, 0 to 1; NaN where too few units are known.
        """
        shown = np.clip(np.asarray(levels, np.float64) / INTENSITY_MAX, 0, 1)
        scores = np.full((len(shown), len(self)), np.nan)
        for column, expression in enumerate(self):
            numbers = [number for number in expression.code if number in aus.numbers]
            weights = np.array([expression.code[number] for number in numbers])
            own = [aus.index(number) for number in numbers]
            known = ~np.isnan(shown[:, own])
            weight = known @ weights
            enough = weight >= max(coverage * sum(expression.code.values()), 1e-9) - 1e-9
            total = np.where(known, shown[:, own], 0) @ weights
            mean = np.divide(total, weight, out=np.full(len(shown), np.nan), where=enough)
            for number, share in expression.lowered_by.items():
                if number in aus.numbers:
                    mean *= 1 - share * np.nan_to_num(shown[:, aus.index(number)])
            if expression.alone and len(own) < len(aus):
                others = np.delete(np.nan_to_num(shown), own, axis=1)
                mean *= 1 - others.max(axis=1)
            scores[:, column] = mean
        return scores

    def detected(self, levels: npt.ArrayLike, aus: AUSet, *, threshold: float = 1.0) -> Floats:
        """Returns the share of each expression's known units that are present, (T, E)."""
        levels = np.asarray(levels, np.float64)
        present = np.where(np.isnan(levels), np.nan, INTENSITY_MAX * (levels >= threshold))
        plain = ExpressionSet(Expression(e.name, dict.fromkeys(e.code, 1.0)) for e in self)
        return plain.score(present, aus)


def _weights(table: Mapping[str, float]) -> dict[int, float]:
    return {AUSet.parse(unit).numbers[0]: float(weight) for unit, weight in table.items()}


_TABLE = """
happy                  6:.51 12:1 25:1                                     1  1
sad                    1:.60 4:1 6:.50 15:1 17:.67                        -1  0
fearful                1:1 2:.57 4:1 5:.63 20:1 25:1 26:.33               -1  1
angry                  4:1 10:.26 17:.52                                  -1  1
surprised              1:1 2:1 5:.66 25:1 26:1                             0  1
disgusted              4:.31 9:1 10:1 17:1                                 0  1
contempt               14:1                                                0  0
happily surprised      1:1 2:1 5:.64 12:1 25:1 26:.67                      1  1
happily disgusted      4:.32 6:.61 9:.59 10:1 12:1 25:1                    1  1
sadly fearful          1:1 2:.46 4:1 5:.24 6:.34 15:.30 20:1 25:1         -1  1
sadly angry            4:1 6:.26 15:1 17:.50                              -1  1
sadly surprised        1:1 2:.27 4:1 6:.31 25:1 26:1                      -1  1
sadly disgusted        1:.49 4:1 6:.61 9:.20 10:1 15:.54 17:.47 25:.43    -1  1
fearfully angry        4:1 5:.40 10:.30 20:1 25:1                         -1  1
fearfully surprised    1:1 2:1 4:.47 5:1 10:.35 20:1 25:1 26:.51          -1  1
fearfully disgusted    1:1 2:.64 4:1 5:.50 6:.26 9:.28 10:1 15:.33 20:1 25:1  -1  1
angrily surprised      4:1 5:.35 10:.34 25:1 26:1                         -1  1
angrily disgusted      4:1 9:.57 10:1 17:1                                -1  1
disgustedly surprised  1:1 2:1 4:.45 5:1 9:.37 10:1 17:.66                 0  1
enthusiastic           1:1 2:1 5:1 6:1 12:1 25:1 26:1                      1  1
humorous               1:1 2:1 6:1 12:1 25:1 26:1                          1  0
interested             1:1 2:1 6:1 12:1                                    1  0
affirmative            1:1 2:1 6:1 12:1                                    1  0
belligerent            1:.6 2:.4 17:1                                     -1  1
domineering            2:1                                                -1  1
defensive              1:1 2:1                                            -1  0
threatened             1:.6 2:.4 5:1                                      -1  0
whined                 1:.6 2:.2 15:1                                     -1  0
awed                   1:1 2:1 4:.21 5:1 20:.62 25:1 26:.56                0  1
hated                  4:1 9:.27 10:1 17:.63                              -1  1
painful                4:.3 6:.2 9:.3 43:.2                               -1  1
"""


def _fine(line: str) -> Expression:
    words = line.split()
    at = next(i for i, word in enumerate(words) if ":" in word)
    name, (valence, arousal) = " ".join(words[:at]), map(int, words[-2:])
    code = {int(unit): float(weight) for unit, weight in (w.split(":") for w in words[at:-2])}
    against = {1: {15: 0.5}, -1: {12: 0.5}}.get(valence, {})
    if name == "domineering":
        against = {**against, 1: 1.0}
    return Expression(name, code, valence, arousal, against, alone=name == "contempt")


FINE = ExpressionSet(_fine(line) for line in _TABLE.strip().splitlines())
"""31 expressions; the 32nd, `NEUTRAL`, is where none of them reaches a threshold.

Codes, valence and arousal are those of Fine-grained Facial Expression Recognition (E. Ran, 2024),
one of the systems that tfau reimplements. The fractions look like the shares of people in whom a
unit was seen in Du, Tao and Martinez, "Compound facial expressions of emotion", PNAS 2014; the
names from enthusiastic to whined are those of Gottman's specific affect codes. Against pleasant
ones speaks AU15, against unpleasant ones AU12, by half; against domineering AU1; contempt is AU14
alone. Several need more than a face (a nod, folded arms): a score says what a face shows, not what
is felt.
"""

SHOWN = (
    *("happy", "sad", "fearful", "angry", "surprised", "disgusted", "contempt", "belligerent"),
    *("domineering", "threatened", "whined", "awed", "hated", "painful"),
)
"""Those that are told of unless one asks for others."""

EMOTIONS = ExpressionSet(
    Expression(name, dict.fromkeys(numbers, 1.0))
    for name, numbers in (
        ("happiness", (6, 12)),
        ("sadness", (1, 4, 15)),
        ("surprise", (1, 2, 5, 26)),
        ("fear", (1, 2, 4, 5, 7, 20, 26)),
        ("anger", (4, 5, 7, 23)),
        ("disgust", (9, 15, 16)),
        ("contempt", (12, 14)),
    )
)
"""Seven emotions by their units alone (EMFACS, as the library with support vector machines has
them); `detected` gives its scores, the share of the units that are there."""


def neutral_threshold(scores: npt.NDArray[Any]) -> float:
    """Returns the 90th percentile of all scores of a video, (T, E); below it a face shows nothing.

    NaN if nothing is known.
    """
    known = scores[~np.isnan(scores)]
    return float(np.quantile(known, 0.9)) if known.size else float("nan")


def with_neutral(scores: npt.NDArray[Any], threshold: float) -> Floats:
    """Adds the column of `NEUTRAL`: the threshold where no score reaches it, else 0.

    Args:
        scores: (T, E).
        threshold: Of `neutral_threshold`.

    Returns:
        (T, E + 1); NaN where nothing is known.
    """
    unknown = np.isnan(scores).all(axis=1)
    highest = np.where(np.isnan(scores), -np.inf, scores).max(axis=1, initial=-np.inf)
    neutral = np.where(highest < threshold, threshold, 0.0)
    return np.column_stack([scores, np.where(unknown, np.nan, neutral)])


def smoothed(times_s: npt.NDArray[Any], scores: npt.NDArray[Any], time_constant_s: float) -> Floats:
    """Smooths exponentially; what was not known does not count, and begins anew after it.

    Args:
        times_s: (T,) rising.
        scores: (T, E).
        time_constant_s: After how long a step is done by 63 %. .7 of the old and .3 of the new at
            30 frames a second are .093.
    """
    answer = np.array(scores, np.float64)
    keep = np.exp(-np.diff(times_s, prepend=times_s[:1]) / max(time_constant_s, 1e-9))
    for now in range(1, len(answer)):
        before, value = answer[now - 1], answer[now]
        mixed = value + keep[now] * (before - value)
        answer[now] = np.where(np.isnan(mixed), value, mixed)
    return answer


def top(scores: npt.NDArray[Any], k: int = 3) -> npt.NDArray[np.intp]:
    """Returns the columns of the k highest scores, highest first, (T, k); -1 = there is none."""
    filled = np.where(np.isnan(scores), -1.0, scores)
    order = np.argsort(-filled, axis=1, kind="stable")[:, :k]
    return np.where(np.take_along_axis(filled, order, axis=1) < 0, -1, order)


def cumulated(
    times_s: npt.NDArray[Any], ranks: npt.NDArray[np.intp], count: int, window_s: float = 10.0
) -> Floats:
    """Weighs what was shown in the last seconds.

    The highest expression of each moment counts 1/2, the next 1/4, and so on, in parts of their
    sum.

    Args:
        times_s: (T,) rising.
        ranks: (T, k) of `top`.
        count: Number of expressions E.
        window_s: How far back.

    Returns:
        (T, E), the weight of each expression over the window, seconds.
    """
    weights = 0.5 ** np.arange(1, ranks.shape[1] + 1)
    weights /= weights.sum()
    shown = np.zeros((len(ranks) + 1, count))
    spans = sample_spans(times_s)
    for place, weight in enumerate(weights):
        known = ranks[:, place] >= 0
        shown[1:][known, ranks[known, place]] += weight * spans[known]
    total = np.cumsum(shown, axis=0)
    first = np.searchsorted(times_s, times_s - window_s, side="right")
    return np.asarray(total[1:] - total[first])


def chosen(names: Sequence[str], own: Path | None = None) -> ExpressionSet:
    """Chooses expressions of `FINE` and of a file of one's own, all of whose are taken.

    Raises:
        ValueError: If a name is unknown, or is in both.
    """
    known = FINE.of(*names)
    if own is None:
        return known
    mine = ExpressionSet.read(own)
    if both := set(known.names) & set(mine.names):
        raise ValueError(f"{own}: there is an expression {both.pop()!r} already.")
    return ExpressionSet((*known, *mine))
