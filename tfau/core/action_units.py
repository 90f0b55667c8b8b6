"""The action units of the Facial Action Coding System, and the ordered sets we work with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

INTENSITY_MAX = 5.0
"""FACS levels A to E are 1 to 5; 0 is absent; NaN is not coded."""


@dataclass(frozen=True)
class ActionUnit:
    """Describes one action unit (AU).

    Args:
        number: FACS number.
        name: FACS name.
        muscles: Muscles that produce it.
        points: Names of the places on the face where it is drawn. A paired unit has one point
            on each side of the face (`_left`, `_right`, the subject's own), so that it can be
            stronger on one side. A midline unit has points whose intensity is always the same.

    References:
        Ekman, Friesen and Hager, "Facial Action Coding System", 2002.
    """

    number: int
    name: str
    muscles: tuple[str, ...]
    points: tuple[str, ...]

    @property
    def label(self) -> str:
        """Column name, e.g. `AU06`."""
        return f"AU{self.number:02d}"


def _unit(number: int, name: str, muscles: str, *sides: str) -> ActionUnit:
    points = tuple(f"AU{number:02d}_{side}" for side in sides)
    return ActionUnit(number, name, tuple(muscles.split(", ")), points)


_PAIRED = ("left", "right")
_MIDLINE = ("upper", "lower")

ACTION_UNITS: dict[int, ActionUnit] = {
    unit.number: unit
    for unit in (
        _unit(1, "inner brow raiser", "frontalis (medial part)", *_PAIRED),
        _unit(2, "outer brow raiser", "frontalis (lateral part)", *_PAIRED),
        _unit(
            4,
            "brow lowerer",
            "corrugator supercilii, depressor supercilii, procerus",
            *_PAIRED,
        ),
        _unit(5, "upper lid raiser", "levator palpebrae superioris", *_PAIRED),
        _unit(6, "cheek raiser", "orbicularis oculi (orbital part)", *_PAIRED),
        _unit(7, "lid tightener", "orbicularis oculi (palpebral part)", *_PAIRED),
        _unit(9, "nose wrinkler", "levator labii superioris alaeque nasi", *_PAIRED),
        _unit(10, "upper lip raiser", "levator labii superioris", *_PAIRED),
        _unit(11, "nasolabial deepener", "zygomaticus minor", *_PAIRED),
        _unit(12, "lip corner puller", "zygomaticus major", *_PAIRED),
        _unit(13, "sharp lip puller", "levator anguli oris", *_PAIRED),
        _unit(14, "dimpler", "buccinator", *_PAIRED),
        _unit(15, "lip corner depressor", "depressor anguli oris", *_PAIRED),
        _unit(16, "lower lip depressor", "depressor labii inferioris", *_PAIRED),
        _unit(17, "chin raiser", "mentalis", *_MIDLINE),
        _unit(
            18, "lip pucker", "incisivus labii superioris, incisivus labii inferioris", *_MIDLINE
        ),
        _unit(20, "lip stretcher", "risorius, platysma", *_PAIRED),
        _unit(22, "lip funneler", "orbicularis oris", *_MIDLINE),
        _unit(23, "lip tightener", "orbicularis oris", *_MIDLINE),
        _unit(24, "lip pressor", "orbicularis oris", *_MIDLINE),
        _unit(25, "lips part", "depressor labii inferioris, orbicularis oris (relaxed)", *_MIDLINE),
        _unit(26, "jaw drop", "masseter (relaxed), temporalis (relaxed)", *_MIDLINE),
        _unit(27, "mouth stretch", "pterygoids, digastric", *_MIDLINE),
        _unit(28, "lip suck", "orbicularis oris", *_MIDLINE),
        _unit(43, "eyes closed", "levator palpebrae superioris (relaxed)", *_PAIRED),
        _unit(45, "blink", "levator palpebrae superioris (relaxed), orbicularis oculi", *_PAIRED),
    )
}


class AUSet:
    """Orders action units, and with them every column and channel of the project.

    A set has A units and P points; arrays end in one of the two. Two sets are equal if they hold
    the same units in the same order.

    Args:
        numbers: FACS numbers, without repetition.

    Raises:
        ValueError: If a number is unknown or repeated, or there is none.

    Example:
        >>> aus = AUSet([12, 25])
        >>> aus.names
        ('AU12', 'AU25')
        >>> aus.point_names
        ('AU12_left', 'AU12_right', 'AU25_upper', 'AU25_lower')
        >>> aus.pool(np.array([4.0, 2.0, 1.0, 1.0]))
        array([3., 1.])
    """

    def __init__(self, numbers: Iterable[int]) -> None:
        self.numbers = tuple(int(number) for number in numbers)
        if not self.numbers:
            raise ValueError("An AUSet must hold at least one action unit. Received: none.")
        for number in self.numbers:
            if number not in ACTION_UNITS:
                known = ", ".join(str(known) for known in ACTION_UNITS)
                raise ValueError(f"There is no AU {number} here. Known action units: {known}.")
            if self.numbers.count(number) > 1:
                raise ValueError(f"AU numbers must not repeat. Received: {list(self.numbers)}.")
        self.units = tuple(ACTION_UNITS[number] for number in self.numbers)
        self.names = tuple(unit.label for unit in self.units)
        self.point_names = tuple(point for unit in self.units for point in unit.points)
        self.point_owner: npt.NDArray[np.intp] = np.array(
            [a for a, unit in enumerate(self.units) for _ in unit.points], dtype=np.intp
        )

    @classmethod
    def parse(cls, text: str) -> AUSet:
        """Reads `"1,2,4"` or `"AU01 AU02"`.

        Raises:
            ValueError: If a word is not an action unit.
        """
        numbers = []
        for word in re.split(r"[\s,]+", text.strip()):
            match = re.fullmatch(r"(?:AU)?(\d+)", word, flags=re.IGNORECASE)
            if match is None:
                raise ValueError(f"An action unit looks like 12 or AU12. Received: {word!r}.")
            numbers.append(int(match[1]))
        return cls(numbers)

    def __len__(self) -> int:
        return len(self.units)

    def __iter__(self) -> Iterator[ActionUnit]:
        return iter(self.units)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AUSet) and self.numbers == other.numbers

    def __hash__(self) -> int:
        return hash(self.numbers)

    def __repr__(self) -> str:
        return f"AUSet({list(self.numbers)})"

    def index(self, number: int) -> int:
        """Returns the column of a unit; ValueError if the set does not hold it."""
        if number not in self.numbers:
            raise ValueError(f"AU {number} is not in {self!r}.")
        return self.numbers.index(number)

    @property
    def flip_index(self) -> npt.NDArray[np.intp]:
        """(P,) order of the points in a mirrored face: left and right change places."""
        swap = {"left": "right", "right": "left"}
        names = []
        for name in self.point_names:
            unit, side = name.split("_")
            names.append(f"{unit}_{swap.get(side, side)}")
        return np.array([self.point_names.index(name) for name in names], dtype=np.intp)

    def points_of(self, other: AUSet) -> npt.NDArray[np.intp]:
        """Finds our points among those of another set.

        Args:
            other: A set that holds all our units.

        Returns:
            (P,) indices into `other.point_names`.

        Raises:
            ValueError: If one of our units is missing there.
        """
        missing = [number for number in self.numbers if number not in other.numbers]
        if missing:
            raise ValueError(f"AU {missing} not among the labelled units {list(other.numbers)}.")
        return np.array([other.point_names.index(name) for name in self.point_names], np.intp)

    def pool(self, values: npt.ArrayLike) -> npt.NDArray[Any]:
        """Averages point intensities to unit intensities.

        Args:
            values: (..., P) intensities; NaN where a point is not coded.

        Returns:
            (..., A): the mean over the coded points of each unit, NaN where there is none.
        """
        values = np.asarray(values)
        if not np.issubdtype(values.dtype, np.floating):
            values = values.astype(np.float64)
        known = ~np.isnan(values)
        # The points of a unit stand side by side.
        starts = np.searchsorted(self.point_owner, np.arange(len(self)))
        sums = np.add.reduceat(np.where(known, values, 0), starts, axis=-1)
        counts = np.add.reduceat(known, starts, axis=-1, dtype=values.dtype)
        return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)

    def spread(self, left: npt.ArrayLike, right: npt.ArrayLike) -> npt.NDArray[Any]:
        """Gives each point the intensity of its side.

        Args:
            left: (..., A) intensity on the subject's left.
            right: (..., A) intensity on the subject's right.

        Returns:
            (..., P). Points on the midline get the mean of both sides.
        """
        left, right = np.asarray(left), np.asarray(right)
        by_side = {"left": left, "right": right}
        columns = []
        for name, owner in zip(self.point_names, self.point_owner, strict=True):
            values = by_side.get(name.split("_")[1], (left + right) / 2)
            columns.append(values[..., owner])
        return np.stack(columns, axis=-1)
