"""Data sets as TFDS builders, one folder each. Importing this package imports nothing heavy."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tfau.core.errors import DatasetError, require_extra

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

NAMES = ("synthetic_faces",)


def builder(name: str, data_dir: str | None = None) -> tfds.core.DatasetBuilder:
    """Returns the builder of a data set.

    Args:
        name: `NAME` or `NAME/CONFIG`.
        data_dir: Folder of prepared sets; None = TFDS's own (`$TFDS_DATA_DIR` or
            `~/tensorflow_datasets`).

    Raises:
        DatasetError: If there is no such data set.
        MissingExtra: If TFDS is not installed.
    """
    require_extra("train", "tensorflow", "tensorflow_datasets")
    base, _, config = name.partition("/")
    if base not in NAMES:
        raise DatasetError(f"There is no data set {base!r}. Known: {', '.join(NAMES)}.")
    module = importlib.import_module(f"{__name__}.{base}.{base}_dataset_builder")
    chosen = module.config_named(config) if config else None
    made: tfds.core.DatasetBuilder = module.Builder(config=chosen, data_dir=data_dir)
    return made


def prepare(name: str, data_dir: str | None = None, manual_dir: str | None = None) -> Path:
    """Prepares a data set unless that is done already.

    Args:
        name: `NAME` or `NAME/CONFIG`.
        data_dir: As in `builder`.
        manual_dir: Folder with the files that only its owner can hand out.

    Returns:
        The prepared folder, which `tfds.builder_from_directory` reads without our code.

    Raises:
        DatasetError: If the set is unknown, or its files are missing or malformed.
    """
    logging.getLogger("absl").setLevel(logging.ERROR)  # TFDS thinks aloud
    made = builder(name, data_dir)
    if not made.is_prepared():
        import tensorflow_datasets as tfds

        if not sys.stderr.isatty():
            tfds.disable_progress_bar()
        with contextlib.redirect_stdout(io.StringIO()):  # it announces downloads: there are none
            made.download_and_prepare(
                download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
            )
    return Path(made.data_dir)
