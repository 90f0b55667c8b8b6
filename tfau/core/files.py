"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
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
