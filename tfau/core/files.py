"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives another name to write to, and renames it when the `with` ends well.

    Args:
        path: The file to make or replace; its folder must exist.

    Yields:
        A hidden name beside it, with the same suffix. After an error nothing of it is left, and
        what was at `path` is still there.
    """
    unfinished = path.with_name(f".{path.name}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Gives another name to fill, and renames it when the `with` ends well.

    Args:
        path: The folder to make or replace; the one that it lies in must exist.

    Yields:
        A hidden name beside it, where nothing is yet. After an error nothing of it is left, and
        what was at `path` is still there.
    """
    unfinished, former = path.with_name(f".{path.name}"), path.with_name(f".{path.name}.former")
    for leftover in (unfinished, former):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        yield unfinished
        if path.exists():
            path.rename(former)
        unfinished.rename(path)
    finally:
        for leftover in (unfinished, former):
            shutil.rmtree(leftover, ignore_errors=True)
