"""Finds what a name stands for, or says which names are near it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def check_name(kind: str, name: str, known: Iterable[str]) -> None:
    """Checks that a name is known.

    Args:
        kind: What is named, e.g. `"backbone"`.
        name: What was asked for.
        known: All names there are.

    Raises:
        ValueError: If it is not; the sentence lists the known names, the nearest of them first.

    Example:
        >>> check_name("backbone", "resnet", ["tiny", "resnet18"])
        Traceback (most recent call last):
        ValueError: There is no backbone 'resnet'. Nearest: resnet18. Known: tiny, resnet18.
    """
    names = list(known)
    if name in names:
        return
    begin = [known for known in names if known.startswith(name)] if name else []
    near = list(dict.fromkeys(difflib.get_close_matches(name, names, n=3) + begin))[:3]
    nearest = f" Nearest: {', '.join(near)}." if near else ""
    raise ValueError(f"There is no {kind} {name!r}.{nearest} Known: {', '.join(names)}.")
