"""What the builders of real data sets share: labels and pictures in, a prepared set out."""

from __future__ import annotations

import importlib
import itertools
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import tensorflow_datasets as tfds

from tfau.core.action_units import AUSet
from tfau.core.errors import DatasetError
from tfds_builders import preparation, schema, workers
from tfds_builders.preparation import Task
from tfds_builders.recordings import ManualDir, Recording, Report

REPORT = "left_out.csv"


class Layout(Protocol):
    """A module `layout.py`, which knows where the owners of a set keep what.

    Attributes:
        TREE: The folder as they ship it, for people to read.
        UNITS: Config -> FACS numbers of its units.
    """

    @property
    def TREE(self) -> str: ...  # noqa: D102, N802
    @property
    def UNITS(self) -> Mapping[str, tuple[int, ...]]: ...  # noqa: D102, N802

    def recordings(self, folder: ManualDir, config: str, report: Report) -> list[Recording]:
        """Reads the labels; raises DatasetError if they are malformed or a file is missing."""


@dataclass(kw_only=True)
class FaceSetConfig(tfds.core.BuilderConfig):  # type: ignore[misc]
    """Says what is taken from a data set; its name is a key of the layout's `UNITS`.

    Args:
        presence_from: Intensity from which a unit counts as seen; None where that is coded as
            such.
        crop_size: Side of the crops, px.
    """

    presence_from: float | None = None
    crop_size: int = 256


class FaceSet(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[misc, call-arg]
    """Cuts the faces out of a data set that only its owners hand out.

    Recordings are worked on by processes of this machine or, where TFDS is given a runner, by
    Apache Beam. Each ends as a file in the folder `recordings` beside the prepared set, where a
    stopped preparation finds it again; that folder goes when the set is complete. `left_out.csv`
    in the prepared set says what did not become an example, and why.

    Attributes:
        LAYOUT: The module that reads the labels.
        LICENCE: Who may do what with the set, in a line.
        skip_bad: Malformed lines are reported and skipped; the first one is no longer the end.
        processes: Worker processes.
    """

    LAYOUT: Layout
    LICENCE: str
    MANUAL_DOWNLOAD_INSTRUCTIONS = "The set as its owners hand it out."

    skip_bad = False
    processes = os.cpu_count() or 1

    @classmethod
    def config_named(cls, name: str) -> FaceSetConfig:
        """Finds a config.

        Raises:
            DatasetError: If there is none of that name.
        """
        configs: dict[str, FaceSetConfig] = {config.name: config for config in cls.BUILDER_CONFIGS}
        if name not in configs:
            known = ", ".join(configs)
            raise DatasetError(f"{cls.name} has no config {name!r}. Known: {known}.")
        return configs[name]

    def _info(self) -> tfds.core.DatasetInfo:
        config, aus = self.builder_config, AUSet(self._units)
        return self.dataset_info_from_configs(
            features=schema.features(aus, config.crop_size),
            metadata=schema.metadata(
                aus,
                config.crop_size,
                licence=self.LICENCE,
                description=config.description,
                presence_from=config.presence_from,
            ),
        )

    @property
    def _units(self) -> tuple[int, ...]:
        return self.LAYOUT.UNITS[self.builder_config.name]

    @property
    def _workplace(self) -> Path:
        return Path(self.data_dir).parent / "recordings"

    def _download_and_prepare(
        self,
        dl_manager: tfds.download.DownloadManager,
        download_config: tfds.download.DownloadConfig,
    ) -> None:
        start = time.monotonic()
        self._by_beam = bool(download_config.beam_runner)
        self._given = download_config.manual_dir
        self._report = Report(skip_bad=self.skip_bad)
        self._frames, self._seconds = 0, 0.0
        self._spent: dict[str, float] = {}
        super()._download_and_prepare(dl_manager, download_config)
        for task in self._tasks:
            for row in task.left_out():
                self._report.left_out(*row)
        self._report.write(Path(self.data_dir) / REPORT)
        if self._frames:
            seconds = time.monotonic() - start
            self._spent["write"] += seconds - self._seconds
            stages = ", ".join(f"{stage} {spent:.1f} s" for stage, spent in self._spent.items())
            print(
                f"{self._frames} frames in {seconds:.1f} s, {self._frames / seconds:.1f} frames/s "
                f"(work of all processes: {stages}).",
                file=sys.stderr,
            )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        recordings = self._recordings(dl_manager)
        preparation.note_uncoded(recordings, self._report)
        self._workplace.mkdir(parents=True, exist_ok=True)
        size = self.builder_config.crop_size
        self._tasks = [Task.plan(one, self._units, size, self._workplace) for one in recordings]
        splits: dict[str, list[Task]] = {}
        for task in self._tasks:
            splits.setdefault(task.recording.split, []).append(task)
        if not self._by_beam:
            self._work()
            for split, tasks in splits.items():
                if not any(task.count for task in tasks):
                    reasons = Counter(reason for task in tasks for *_, reason in task.left_out())
                    raise DatasetError(
                        f"No frame of {self.info.full_name}, split {split}, can be used: "
                        f"{', '.join(f'{count} {reason}' for reason, count in reasons.items())}."
                    )
        return {split: self._generate_examples(tasks) for split, tasks in splits.items()}

    def _generate_examples(self, tasks: list[Task]) -> Any:
        if not self._by_beam:
            return itertools.chain.from_iterable(task.rows() for task in tasks)
        beam: Any = importlib.import_module("apache_beam")
        return beam.Create(tasks) | beam.Reshuffle() | beam.FlatMap(Task.rows)

    def _post_download_and_prepare_hook(self) -> None:
        shutil.rmtree(self._workplace, ignore_errors=True)

    def _recordings(self, dl_manager: tfds.download.DownloadManager) -> list[Recording]:
        """Reads the labels and checks what no layout needs to check."""
        try:
            root = Path(self._given or dl_manager.manual_dir)
        except AssertionError:  # TFDS's way to say that there is none
            error = DatasetError(f"{self.name} needs `--manual-dir`, the folder with its files.")
            error.add_note(f"Expected in it:\n{self.LAYOUT.TREE.strip()}")
            raise error from None
        folder = ManualDir(root.expanduser(), self.LAYOUT.TREE)
        recordings = self.LAYOUT.recordings(folder, self.builder_config.name, self._report)
        if not recordings:
            raise folder.error(f"There is no recording in {root}.")
        _check(recordings)
        return recordings

    def _work(self) -> None:
        """Does the tasks that were not done before."""
        tasks = [task for task in self._tasks if not task.is_done]
        tasks.sort(key=lambda task: len(task.recording.frames), reverse=True)
        if before := len(self._tasks) - len(tasks):
            print(f"{before} of {len(self._tasks)} recordings were done before.", file=sys.stderr)
        start = time.monotonic()
        self._frames = sum(one.is_coded for task in tasks for one in task.recording.frames)
        for spent in workers.run(
            Task.do, tasks, processes=self.processes, total=self._frames, noun="frames"
        ):
            for stage, seconds in spent.items():
                self._spent[stage] = self._spent.get(stage, 0.0) + seconds
        self._seconds = time.monotonic() - start


def _check(recordings: Iterable[Recording]) -> None:
    """Checks what holds for every data set.

    Raises:
        DatasetError: If a person is in two splits, or a frame or recording is there twice.
    """
    splits: dict[str, str] = {}
    sequences: set[str] = set()
    for one in recordings:
        if splits.setdefault(one.subject, one.split) != one.split:
            raise DatasetError(
                f"Subject {one.subject} is in two splits, {splits[one.subject]} and {one.split}."
            )
        if one.sequence in sequences:
            raise DatasetError(f"There are two recordings {one.sequence}.")
        sequences.add(one.sequence)
        for what, values in (
            ("frame", Counter(frame.number for frame in one.frames)),
            ("picture", Counter(str(frame.picture) for frame in one.frames)),
        ):
            if twice := [value for value, count in values.items() if count > 1]:
                raise DatasetError(f"Recording {one.sequence} has {what} {twice[0]} twice.")
        if not one.media.exists():
            raise DatasetError(f"{one.media} is missing.")
