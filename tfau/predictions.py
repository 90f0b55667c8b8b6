"""What is true of every frame and what was said of it, in a file.

Every table and picture can be made again from it, without the network, the pictures and TensorFlow.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfau.core.action_units import AUSet
from tfau.core.examples import EMOTIONS
from tfau.core.files import whole_file
from tfau.protocols import Strings

Floats = npt.NDArray[np.floating[Any]]

_WORDS = ("dataset", "subject", "sequence", "group", "fold")
_VALUES = ("intensity_true", "intensity", "presence_true", "presence")
_FEELINGS = ("emotion_true", "emotion")
_COLUMNS = (*_WORDS, "frame", *_VALUES, *_FEELINGS)
_KEY = b"tfau.predictions"  # of the metadata of the Parquet file


@dataclass(frozen=True, eq=False)
class Predictions:
    """Holds what is true and what a network says, for N frames and A units.

    Args:
        aus: The units, in column order.
        dataset: (N,) full name of the data set of each frame.
        subject: (N,) who is seen.
        sequence: (N,) recording.
        group: (N,) kind of person; empty if unknown.
        fold: (N,) fold that tests the frame.
        frame: (N,) number of the frame in the sequence.
        intensity_true: (N, A) codes 0-5, NaN where not coded.
        presence_true: (N, A) codes 1 and 0, NaN where not coded.
        intensity: (N, A) estimates 0-5; NaN where no face was found. A unit that is NaN everywhere
            is not estimated.
        presence: (N, A) estimated probabilities, likewise.
        emotion_true: (N, 7) 1 at one of `EMOTIONS` and 0 at the others, NaN where none of them is
            coded. Left out: coded nowhere.
        emotion: (N, 7) estimated probabilities, likewise.
        facts: What else one must know: `protocol`; `folds_total`, or `folds_done`, e.g. `3 of 3`;
            `presence_from`, the intensity from which a unit counts as present in the truth, empty
            if that was coded as such; `note`. Others are kept and not looked at.

    Raises:
        ValueError: If shapes do not agree.
    """

    aus: AUSet
    dataset: Strings
    subject: Strings
    sequence: Strings
    group: Strings
    fold: Strings
    frame: npt.NDArray[np.integer[Any]]
    intensity_true: Floats
    presence_true: Floats
    intensity: Floats
    presence: Floats
    emotion_true: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    emotion: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    facts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = (len(self.frame),)
        for name in _FEELINGS:
            if not getattr(self, name).size:
                nothing = np.full((*rows, len(EMOTIONS)), np.nan, np.float32)
                object.__setattr__(self, name, nothing)
        widths = dict.fromkeys(_VALUES, (len(self.aus),))
        widths |= dict.fromkeys(_FEELINGS, (len(EMOTIONS),))
        for name in _COLUMNS:
            expected = rows + widths.get(name, ())
            shape = getattr(self, name).shape
            if shape != expected:
                raise ValueError(f"`{name}` must have the shape {expected}. Received: {shape}.")

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, rows: npt.NDArray[Any]) -> Predictions:
        """Returns the rows of a mask or of indices."""
        columns = {name: getattr(self, name)[rows] for name in _COLUMNS}
        return dataclasses.replace(self, **columns)

    @property
    def folds(self) -> tuple[int, int | None]:
        """Number of folds that are in here, and number that there are, if that is known."""
        total = self.facts.get("folds_total") or self.facts.get("folds_done", "")
        number = re.search(r"(\d+)\s*$", total)
        return len(np.unique(self.fold)), int(number[1]) if number else None

    @classmethod
    def join(cls, parts: Sequence[Predictions]) -> Predictions:
        """Pools predictions, e.g. those of the folds of a protocol.

        Args:
            parts: At least one. A fact on which they differ keeps all its values, comma between.

        Raises:
            ValueError: If there is none, their units differ, or a frame is in two of them.
        """
        if not parts:
            raise ValueError("There are no predictions to join.")
        if len({part.aus for part in parts}) > 1:
            units = " and ".join(sorted({" ".join(part.aus.names) for part in parts}))
            raise ValueError(f"Predictions must be of the same units. Received: {units}.")
        seen: set[tuple[str, ...]] = set()
        for part in parts:
            names = (part.dataset, part.subject, part.sequence, part.frame.astype(np.str_))
            frames = set(zip(*(column.tolist() for column in names), strict=True))
            if double := min(seen & frames, default=None):
                raise ValueError(f"Two of the predictions are of the frame {' '.join(double)}.")
            seen |= frames
        facts: dict[str, str] = {}
        for name in dict.fromkeys(name for part in parts for name in part.facts):
            values = dict.fromkeys(part.facts.get(name, "") for part in parts)
            facts[name] = ", ".join(value for value in values if value)
        columns = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS
        }
        totals = {part.folds[1] for part in parts}
        joined = cls(parts[0].aus, **columns, facts=facts)
        if len(totals) == 1 and None not in totals:
            facts["folds_done"] = f"{joined.folds[0]} of {totals.pop()}"
        return joined

    @classmethod
    def average(cls, parts: Sequence[Predictions]) -> Predictions:
        """Averages what several networks say of the same frames.

        Args:
            parts: At least one; all of the same frames in the same order, and of the same units.

        Raises:
            ValueError: If there is none, or their units or frames differ.
        """
        if not parts:
            raise ValueError("There are no predictions to average.")
        first = parts[0]
        for part in parts[1:]:
            same = part.aus == first.aus and all(
                np.array_equal(getattr(part, name), getattr(first, name))
                for name in ("dataset", "subject", "sequence", "frame")
            )
            if not same:
                raise ValueError("Predictions must be of the same units and frames to be averaged.")
        notes = [part.facts.get("note", "") for part in parts]
        notes += [f"mean of {len(parts)} networks"] if len(parts) > 1 else []
        note = ", ".join(dict.fromkeys(filter(None, notes)))
        means: dict[str, Any] = {
            name: np.mean([getattr(part, name) for part in parts], axis=0, dtype=np.float32)
            for name in ("intensity", "presence", "emotion")
        }
        return dataclasses.replace(first, **means, facts=first.facts | {"note": note})

    def write(self, path: Path) -> None:
        """Writes a Parquet file: columns such as `AU06_intensity_true`, and facts as metadata.

        What is NaN becomes null, which every reader of Parquet knows for "not there".
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {name: pa.array(getattr(self, name).tolist(), pa.string()) for name in _WORDS}
        columns["frame"] = pa.array(np.asarray(self.frame, np.int64))
        feelings = () if np.isnan(self.emotion).all() else _FEELINGS
        for names, values_of in ((self.aus.names, _VALUES), (EMOTIONS, feelings)):
            for a, who in enumerate(names):
                for name in values_of:
                    values = np.asarray(getattr(self, name)[:, a], np.float32)
                    columns[f"{who}_{name}"] = pa.array(values, mask=np.isnan(values))
        head = {"action_units": list(self.aus.numbers), "facts": self.facts}
        table = pa.table(columns).replace_schema_metadata({_KEY: json.dumps(head)})
        with whole_file(path) as unfinished:
            pq.write_table(table, unfinished, compression="zstd")

    @classmethod
    def read(cls, path: Path) -> Predictions:
        """Reads what `write` wrote.

        Raises:
            ValueError: If there is no such file, or it is not one of ours.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not path.is_file():
            raise ValueError(f"There is no file {path}.")
        try:
            table = pq.read_table(path)
            head = json.loads(table.schema.metadata[_KEY])
            aus = AUSet(head["action_units"])
            columns: dict[str, Any] = {
                name: np.array(table[name].to_pylist(), np.str_) for name in _WORDS
            }
            columns["frame"] = table["frame"].to_numpy()
            has_feelings = f"{EMOTIONS[0]}_emotion" in table.column_names
            for names, values_of in ((aus.names, _VALUES), (EMOTIONS, _FEELINGS * has_feelings)):
                for name in values_of:
                    values = [table[f"{who}_{name}"].to_numpy() for who in names]
                    columns[name] = np.stack(values, axis=1).astype(np.float32)
            return cls(aus, **columns, facts=dict(head["facts"]))
        except (OSError, KeyError, TypeError, ValueError, pa.ArrowException):
            raise ValueError(f"{path} is not a file of predictions that tfau wrote.") from None
