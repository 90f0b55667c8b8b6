"""Networks in files, with how they came to be."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from tfau.core.files import whole_file

_MEMBER = "tfau.json"
History = list[dict[str, Any]]
"""What was measured in each complete epoch, first to last."""


def save(model: keras.Model, path: Path, history: History, *, keep_previous: bool = False) -> None:
    """Writes a network, its optimiser and its history as one file.

    Args:
        model: Any Keras model.
        path: A `.keras` file; its folder must exist.
        history: Every epoch until now.
        keep_previous: Whether the file that was there before becomes `previous_NAME`, in case a
            disk loses the new one.
    """
    with whole_file(path) as unfinished:
        model.save(unfinished)
        with zipfile.ZipFile(unfinished, "a") as archive:
            archive.writestr(_MEMBER, json.dumps({"history": history}))
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        if keep_previous and path.exists():
            os.replace(path, _previous(path))


def load(path: Path) -> tuple[keras.Model, History]:
    """Reads a network and its history.

    Raises:
        ValueError: If the file is missing, damaged, or not from `save`.
    """
    if not path.is_file():
        raise ValueError(f"{path.parent} has no {path.name}: no epoch was completed there.")
    try:
        with zipfile.ZipFile(path) as archive:
            history: History = json.loads(archive.read(_MEMBER))["history"]
        return keras.saving.load_model(path), history
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}.") from None


def load_newest(path: Path, log: Callable[[str], None]) -> tuple[keras.Model, History] | None:
    """Reads a network, or if its file is damaged the one before it.

    Args:
        path: As in `save`.
        log: Told, in a line, that the older one was taken.

    Returns:
        None where neither file is there.

    Raises:
        ValueError: If what is there cannot be read, one as little as the other.
    """
    before = _previous(path)
    if not path.exists() and not before.exists():
        return None
    try:
        return load(path)
    except ValueError as error:
        if not before.exists():
            raise
        model, history = load(before)
        log(f"{error} Going on from {before.name}, after epoch {len(history)}.")
        return model, history


def _previous(path: Path) -> Path:
    return path.with_name(f"previous_{path.name}")
