"""What units say of a face, in words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tfau.classic.features import Floats
from tfau.core.action_units import ACTION_UNITS, AUSet

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
