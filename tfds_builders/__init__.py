"""Data sets as TFDS builders, one folder each. Importing this package imports nothing heavy."""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import logging
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tfau.core.errors import DatasetError, require_extra
from tfau.core.quiet import import_quietly

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

NAMES = ("synthetic_faces", "bp4d", "bp4d_plus", "disfa", "disfa_plus", "ck_plus", "au_list")


def builder(name: str, data_dir: str | None = None) -> tfds.core.DatasetBuilder:
    """Returns the builder of a data set.

    Args:
        name: `NAME` or `NAME/CONFIG`.
        data_dir: Folder of prepared sets; None = TFDS's own (`$TFDS_DATA_DIR` or
            `~/tensorflow_datasets`).

    Raises:
        DatasetError: If there is no such data set or config.
        MissingExtra: If TFDS is not installed.
    """
    require_extra("train", "tensorflow", "tensorflow_datasets")
    base, _, config = name.partition("/")
    _check_name(base)
    module = importlib.import_module(f"{__name__}.{base}.{base}_dataset_builder")
    chosen = module.Builder.config_named(config) if config else None
    made: tfds.core.DatasetBuilder = module.Builder(config=chosen, data_dir=data_dir)
    return made


def prepare(
    name: str,
    data_dir: str | None = None,
    manual_dir: str | None = None,
    *,
    skip_bad: bool = False,
    processes: int | None = None,
    beam: str | None = None,
    beam_options: str = "",
) -> Path:
    """Prepares a data set unless that is done already.

    Args:
        name: `NAME` or `NAME/CONFIG`.
        data_dir: As in `builder`.
        manual_dir: Folder with the files that only its owner can hand out.
        skip_bad: Whether to report and skip malformed lines; they are errors otherwise.
        processes: Worker processes; None = as many as there are cores.
        beam: Name of the Apache Beam runner that does the work instead, e.g. `DirectRunner`. Its
            workers must find `data_dir` and `manual_dir` under the same names as we do.
        beam_options: Flags for that runner, as on a command line.

    Returns:
        The prepared folder, which `tfds.builder_from_directory` reads without our code.

    Raises:
        DatasetError: If the set is unknown, or its files are missing or malformed.
        MissingExtra: If TFDS or Beam is not installed.
    """
    if processes is not None and processes < 1:
        raise ValueError(f"`processes` must be at least 1. Received: {processes}.")
    if beam:
        if name.partition("/")[0] == "synthetic_faces":
            raise DatasetError("synthetic_faces does not run on Beam: it draws on this machine.")
        require_extra("beam", "apache_beam")
    logging.getLogger("absl").setLevel(logging.ERROR)  # TFDS thinks aloud
    made = builder(name, data_dir)
    made.skip_bad = skip_bad
    made.processes = processes or made.processes
    folder = Path(made.data_dir)
    with _alone(folder.parent):
        if not made.is_prepared():
            _download_and_prepare(made, manual_dir, beam, beam_options)
            for leftover in folder.parent.glob(f"incomplete.*_{folder.name}"):
                shutil.rmtree(leftover, ignore_errors=True)  # of a preparation that was killed
    return folder


def summary(folder: Path) -> str:
    """Says what a prepared set holds and what was left out of it, in a line."""
    import tensorflow_datasets as tfds

    splits = tfds.builder_from_directory(str(folder)).info.splits
    text = f"{splits.total_num_examples:,} examples"
    report = folder / "left_out.csv"
    if report.exists():
        with report.open(newline="") as file:
            # What follows the colon is about one line of one file.
            reasons = Counter(line["reason"].partition(":")[0] for line in csv.DictReader(file))
        shares = [f"{count:,} {reason}" for reason, count in reasons.most_common(6)]
        if others := reasons.total() - sum(count for _, count in reasons.most_common(6)):
            shares.append(f"{others:,} for other reasons")
        text += f"; left out: {', '.join(shares) or 'nothing'} ({report.name})"
    return text


def write_dummy(name: str, folder: Path) -> None:
    """Writes an imitation of a data set as its owners ship it, with people who do not exist.

    Args:
        name: The data set.
        folder: A folder that is empty or not there yet.

    Raises:
        DatasetError: If there is no such data set or imitation, or the folder is not empty.
    """
    _check_name(name)
    if name == "synthetic_faces":
        raise DatasetError(
            "synthetic_faces needs no imitation: synthetic_faces/tiny needs no files."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DatasetError(f"{folder} must be an empty or a new folder.")
    module = importlib.import_module(f"{__name__}.{name}.dummy_data")
    folder.mkdir(parents=True, exist_ok=True)
    module.write(folder)


def _check_name(name: str) -> None:
    if name not in NAMES:
        raise DatasetError(f"There is no data set {name!r}. Known: {', '.join(NAMES)}.")


def _download_and_prepare(
    made: tfds.core.DatasetBuilder, manual_dir: str | None, beam: str | None, beam_options: str
) -> None:
    import tensorflow_datasets as tfds

    config = tfds.download.DownloadConfig(manual_dir=manual_dir)
    if beam:
        # Beam writes every error with its traceback; what ends the work reaches us as an exception.
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
        import_quietly("apache_beam")
        options = importlib.import_module("apache_beam.options.pipeline_options")
        config.beam_runner = beam
        config.beam_options = options.PipelineOptions(shlex.split(beam_options))
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):  # it announces downloads: there are none
        made.download_and_prepare(download_config=config)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lets one process at a time prepare a data set; the lock ends with it, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Waiting for another process that prepares {folder}.", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except (ImportError, OSError):  # a system or a file system without locks
            pass
        yield
