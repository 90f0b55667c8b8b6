"""Who trains and who tests: folds of people, and what was published on which.

`protocols.json` holds the published lists of people and the published results, each with a mark
that says how it came to be known here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Strings = npt.NDArray[np.str_]
Rows = npt.NDArray[np.bool_]

_DATA: dict[str, Any] = json.loads(
    Path(__file__).with_name("protocols.json").read_text(encoding="utf-8")
)
_LISTS: dict[str, dict[str, Any]] = _DATA["lists"]

MARKS: dict[str, str] = _DATA["marks"]
"""How a published number came to be known here, by its mark."""

PROTOCOLS: dict[str, str] = {
    "as_prepared": "One fold: the train, validation and test people of the data set's makers.",
    **{name: people["source"] for name, people in _LISTS.items()},
    "subjects_K": "K folds of people, drawn by the seed; `subjects_10` makes ten.",
    "leave_one_subject_out": "As many folds as people; each is tested once.",
    "leave_one_dataset_out": "As many folds as data sets; each is tested once.",
}
"""What can be asked for, and where it comes from."""


class Labels(Protocol):
    """What folds need to know of a table of labels with N rows."""

    @property
    def dataset(self) -> Strings:
        """(N,) full names, e.g. `disfa/intensity/1.0.0`."""

    @property
    def subject(self) -> Strings:
        """(N,) who is seen."""

    @property
    def split(self) -> Strings:
        """(N,) part of the data set, as its makers divide it."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Says which rows train, which choose the epoch, and which test.

    Args:
        name: E.g. `fold 1 of 3`.
        train: (N,) rows.
        validation: (N,) rows; may be none.
        test: (N,) rows.
        note: What a reader of the scores must know, e.g. that people of a list are missing.
    """

    name: str
    train: Rows
    validation: Rows
    test: Rows
    note: str = ""


@dataclass(frozen=True)
class Published:
    """Holds a published result, as far as it compares.

    Args:
        method: Its name.
        venue: Where it was published.
        metric: `ICC`, `MAE`, `MSE`, `PCC` or `F1`. F1 is a share, not per cent.
        mean: Mean over the units of the paper; None where those are not the units at hand.
        values: FACS number -> value, for those of the units at hand that are known.
        mark: One of `MARKS`.
        note: What keeps it from being quite the same, e.g. another list of people.
    """

    method: str
    venue: str
    metric: str
    mean: float | None = None
    values: dict[int, float] = field(default_factory=dict)
    mark: str = ""
    note: str = ""


def base_name(dataset: str) -> str:
    """Returns the data set of a full name: `disfa` of `disfa/intensity/1.0.0`."""
    return dataset.partition("/")[0]


def persons(dataset: Strings, subject: Strings) -> Strings:
    """Names people, (N,): one person has one name in all data sets that show him or her.

    Upper and lower case do not matter: `SN001` and `sn001` are the same person.
    """
    prefix = _each(dataset, lambda name: f"{_home(name)}/")
    return np.char.add(prefix, _each(subject, str.casefold))


def _home(dataset: str) -> str:
    """Returns the data set whose people a data set shows, under the same names."""
    base, config = (*dataset.split("/"), "")[:2]
    if base == "au_list":  # lists of the pictures of another set
        return config
    return {"disfa_plus": "disfa"}.get(base, base)


def check(protocol: str) -> None:
    """Checks that there is such a protocol; ValueError if there is none."""
    drawn = re.fullmatch(r"subjects_(\d+)", protocol)
    if drawn is None and (protocol not in PROTOCOLS or protocol == "subjects_K"):
        known = ", ".join(PROTOCOLS)
        raise ValueError(f"There is no protocol {protocol!r}. Known: {known} (K is a number).")
    if drawn and int(drawn[1]) < 2:
        raise ValueError(f"`subjects_K` must make at least 2 folds. Received: {protocol}.")


def folds(protocol: str, labels: Labels, *, validation: float, seed: int) -> list[Fold]:
    """Divides rows so that nobody is in two parts of a fold.

    Args:
        protocol: One of `PROTOCOLS`.
        labels: The table of labels.
        validation: Share of the training people who choose the epoch, drawn by the seed; at least
            one of them, as long as two are left to train. Where a list or the makers of the data
            set say who they are, it is those. With 0 they all train.
        seed: Decides every draw.

    Returns:
        The folds, in order. They do not depend on the order of the rows.

    Raises:
        ValueError: If there is no such protocol, or it does not fit the data.
    """
    check(protocol)
    if not 0 <= validation < 1:
        raise ValueError(f"`validation` must lie in [0, 1). Received: {validation}.")
    if not len(labels.subject):
        raise ValueError("There are no labels to make folds of.")
    # From here to the last line, a mask (P,) is about people, not rows.
    who, first, person = np.unique(
        persons(labels.dataset, labels.subject), return_index=True, return_inverse=True
    )
    names, sets = labels.subject[first], _each(labels.dataset[first], base_name)
    held: list[Rows] | None = None
    called: list[str] = []
    note = ""
    if protocol == "as_prepared":
        tested, held = _as_prepared(labels.split, who, person)
    elif protocol in _LISTS:
        tested, held, note = _listed(protocol, who, names, sets)
    elif protocol == "leave_one_subject_out":
        tested, called = list(np.eye(len(who), dtype=bool)), [str(name) for name in names]
    elif protocol == "leave_one_dataset_out":
        called = [str(name) for name in np.unique(sets)]
        tested = [sets == name for name in called]
    else:
        count = int(protocol.rpartition("_")[2])
        if count > len(who):
            raise ValueError(f"{protocol} needs at least {count} people. Received: {len(who)}.")
        order = np.random.default_rng(seed).permutation(len(who))
        tested = [np.isin(np.arange(len(who)), part) for part in np.array_split(order, count)]

    made = []
    for n, test in enumerate(tested):
        name = f"fold {n + 1} of {len(tested)}" + (f" ({called[n]})" if called else "")
        if not test.any() or test.all():
            part = "train" if test.all() else "test"
            raise ValueError(f"{protocol} finds nobody to {part} in {name}.")
        chosen = held[n] if held and held[n].any() else None
        if chosen is None or not validation:
            chosen = _drawn(~test, validation, np.random.default_rng([seed, n]))
        if not (~test & ~chosen).any():
            raise ValueError(f"{protocol} finds nobody to train in {name}.")
        made.append(Fold(name, (~test & ~chosen)[person], chosen[person], test[person], note))
    return made


def fold_of(made: list[Fold], number: int) -> Fold:
    """Picks a fold by its number, from 1; ValueError if there is none of that number."""
    if not 1 <= number <= len(made):
        raise ValueError(f"`fold` must be 1 to {len(made)} in this protocol. Received: {number}.")
    return made[number - 1]


def published(
    dataset: str,
    kind: str,
    units: Collection[int],
    protocol: str,
    folds_done: int,
    folds_total: int,
    *,
    subjects: Iterable[str] | None = None,
    presence_from: float | None = None,
) -> tuple[list[Published], str]:
    """Finds published results that may stand beside ours.

    They must be of the same data set, kind and number of folds that keep people apart, all folds
    must be done, and all people scored. Results of single units are given for the units at hand,
    a mean only if the units are the same.

    Args:
        dataset: Name of the data set, full or not.
        kind: `intensity` or `occurrence`.
        units: FACS numbers that are scored.
        protocol: What `folds` was asked for.
        folds_done: Number of folds that are scored.
        folds_total: Number of folds that there are.
        subjects: Who is scored; None if that is not known.
        presence_from: Intensity from which a unit counts as present in the truth; None if that
            was coded as such, or is not known.

    Returns:
        The results and an empty text, or none and one sentence that says why.
    """
    base, ours = base_name(dataset), set(units)
    found = [bench for bench in _DATA["benchmarks"] if bench["dataset"] == base]
    if not found:
        return [], f"No published results of {base} are kept here."
    found = [bench for bench in found if bench["kind"] == kind]
    if not found:
        return [], f"No published results of {base} {kind} are kept here."
    try:
        check(protocol)
    except ValueError:
        return [], f"Published results keep the people of {base} apart; {protocol!r} may not."
    if protocol == "leave_one_dataset_out":
        return [], f"Published results are of networks trained on {base} itself."
    if folds_done < folds_total:
        return [], f"Published results are of all folds; {folds_done} of {folds_total} are done."
    everybody = {name.casefold() for name in _people_of(base)}
    scored = everybody if subjects is None else {name.casefold() for name in subjects}
    if everybody and scored != everybody:
        return [], f"Published results are of all {len(everybody)} people of {base}, ours are not."
    counts = sorted({bench["folds"] for bench in found})
    found = [bench for bench in found if bench["folds"] == folds_total]
    if not found:
        wanted = " or ".join(str(count) for count in counts)
        return [], f"Published results are of {wanted} folds; here there are {folds_total}."
    if kind == "occurrence":
        levels = [bench["presence_from"] for bench in found]
        found = [bench for bench in found if bench["presence_from"] == presence_from]
        if not found:
            theirs, here = _level(levels[0]), _level(presence_from)
            return [], f"Published results count as present what is {theirs}; here it is {here}."
    rows = [
        _as_far_as_it_compares(bench, row, ours, protocol)
        for bench in found
        for row in bench["results"]
    ]
    rows = [row for row in rows if row.values or row.mean is not None]
    if not rows:
        return [], f"Published results of {base} {kind} are of other units."
    return rows, ""


def _each(values: Strings, change: Callable[[str], str]) -> Strings:
    """Changes every word, looking at each only once."""
    words, index = np.unique(values, return_inverse=True)
    return np.array([change(str(word)) for word in words], np.str_)[index]


def _as_prepared(
    split: Strings, who: Strings, person: npt.NDArray[np.intp]
) -> tuple[list[Rows], list[Rows]]:
    """Finds the people whom the makers of a data set test with, and those for validation."""
    parts = ("train", "validation", "test")
    other = sorted(set(np.unique(split).tolist()) - set(parts))
    if other:
        raise ValueError(
            "as_prepared needs sets that are divided into train, validation and test; choose "
            f"another protocol. Received: {', '.join(other)}."
        )
    masks = {part: np.bincount(person[split == part], minlength=len(who)) > 0 for part in parts}
    double = who[np.sum(list(masks.values()), axis=0) > 1]
    if len(double):
        raise ValueError(f"as_prepared has {double[0]} in two parts; choose another protocol.")
    return [masks["test"]], [masks["validation"]]


def _listed(
    protocol: str, who: Strings, names: Strings, sets: Strings
) -> tuple[list[Rows], list[Rows] | None, str]:
    """Finds the people of a published list: tested, for validation, and who of them is missing."""
    people = _LISTS[protocol]
    base = people["dataset"]
    strange = sorted(set(sets.tolist()) - {base})
    if strange:
        raise ValueError(f"{protocol} is a list of {base}. Received: {', '.join(strange)}.")

    def masks(lists: list[list[str]]) -> list[Rows]:
        return [np.isin(who, [f"{base}/{name.casefold()}" for name in part]) for part in lists]

    tested = masks(people["test"])
    unknown = names[~np.any(tested, axis=0)]
    if len(unknown):
        raise ValueError(f"{protocol} does not know {', '.join(unknown)}.")
    empty = [str(n + 1) for n, mask in enumerate(tested) if not mask.any()]
    if empty:
        raise ValueError(f"{protocol} has nobody to test in fold {', '.join(empty)} of this set.")
    total = sum(len(part) for part in people["test"])
    note = "" if len(who) == total else f"partial: {len(who)} of the {total} people of {protocol}"
    return tested, masks(people["validation"]) if "validation" in people else None, note


def _drawn(candidates: Rows, share: float, rng: np.random.Generator) -> Rows:
    """Draws people for validation."""
    index = np.flatnonzero(candidates)
    wanted = max(1, int(share * len(index) + 0.5)) if share else 0
    chosen = rng.choice(index, max(0, min(wanted, len(index) - 2)), replace=False)
    return np.isin(np.arange(len(candidates)), chosen)


def _people_of(base: str) -> set[str]:
    """Lists the people of a data set, as far as a published list names them."""
    lists = [people["test"] for people in _LISTS.values() if people["dataset"] == base]
    return {name for parts in lists for part in parts for name in part}


def _level(presence_from: float | None) -> str:
    return "coded as such" if presence_from is None else f"of intensity {presence_from:g} or more"


def _as_far_as_it_compares(
    bench: dict[str, Any], row: dict[str, Any], ours: set[int], protocol: str
) -> Published:
    """Keeps of a published result what is about our units, and says what differs."""
    values = dict(zip(bench["units"], row.get("values", ()), strict=False))
    notes = [row["note"]] if "note" in row else []
    if "list" not in row:
        notes.append("who is in which fold is not known")
    elif row["list"] != protocol:
        notes.append(f"folds of {row['list']}")
    return Published(
        method=row["method"],
        venue=row["venue"],
        metric=row["metric"],
        mean=row["mean"] if ours == set(bench["units"]) else None,
        values={unit: value for unit, value in values.items() if unit in ours},
        mark=row["mark"],
        note="; ".join(notes),
    )
