"""The crops that show the range of every activation: from the run, a data set, or a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from export.trained_run import TrainedRun
from tfau.core import MissingExtra, SourceError
from tfau.core.errors import require_extra
from tfau.data.coverage import cover

if TYPE_CHECKING:
    from edge.sources import Source

CROPS = 256
_CANDIDATES = 2048  # crops of a folder that are held in memory, evenly spread
_FACES = 16  # most faces in a picture

Estimate = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]
"""Reads (N, S, S, 3) crops to (N, A) intensities."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Holds crops to calibrate with, and where they come from.

    Args:
        crops: (N, S, S, 3) uint8.
        source: What to call them in a description; no path of this machine.
        seed: What chose them.
    """

    crops: npt.NDArray[np.uint8]
    source: str
    seed: int = 0

    def describe(self) -> dict[str, Any]:
        """Returns what `tfau.json` says of it; the checksum is that of the pixels in order."""
        digest = hashlib.sha256(self.crops.tobytes()).hexdigest()
        return {
            "source": self.source,
            "crops": len(self.crops),
            "seed": self.seed,
            "sha256": digest,
        }


def calibration(
    where: str, run: TrainedRun, estimate: Estimate, *, seed: int = 0, data_dir: str | None = None
) -> Calibration:
    """Finds crops to calibrate with: half at random, half where units are strongest.

    Args:
        where: Empty = those that training chose; a folder of pictures and videos, or one of them;
            or the name of a prepared data set.
        run: What is exported.
        estimate: Says how strong the units are where no label does.
        seed: Decides the choice.
        data_dir: Folder of prepared sets; None = TFDS's own.

    Raises:
        SourceError: If there is no face in the folder, or a file in it cannot be read.
        MissingExtra: If what reads data sets is not installed.
        ValueError: If there is no such data set.
    """
    if not where:
        return Calibration(run.calibration, "training people of the run", run.config.seed)
    path = Path(where)
    if not path.exists():
        return _of_data_set(where, run, seed, data_dir)
    crops = _of_folder(path, run)
    return Calibration(crops[cover(estimate(crops), CROPS, seed=seed)], path.resolve().name, seed)


def _of_data_set(name: str, run: TrainedRun, seed: int, data_dir: str | None) -> Calibration:
    """Takes people of a prepared data set; of that of the run, those it was trained on."""
    try:
        require_extra("train", "tensorflow_datasets")
    except MissingExtra as error:
        raise MissingExtra(f"There is no folder {name}; to read a data set: {error}") from None
    from tfau.training import Run, open_data

    data = open_data(name.split("+"), data_dir)
    rows = np.ones(len(data), bool)
    if name == run.config.dataset:
        rows = Run(run.folder, run.config).fold(data).train
    columns = [data.aus.index(unit) for unit in run.aus.numbers if unit in data.aus.numbers]
    strength = np.fmax(data.labels.intensity, data.labels.presence)[rows][:, columns]
    chosen = np.zeros_like(rows)
    chosen[np.flatnonzero(rows)[cover(strength, CROPS, seed=seed)]] = True
    crops, _ = data.sample(chosen, data.aus, run.config.crop_size, CROPS)
    return Calibration(crops, data.name, seed)


def _of_folder(path: Path, run: TrainedRun) -> npt.NDArray[np.uint8]:
    """Crops the faces in pictures and videos as the edge does."""
    from edge.face_mesh import FaceMesh
    from edge.warp import crop_face
    from tfau.core import FaceAligner

    size = run.config.crop_size
    aligner, crops, stride, seen = FaceAligner(size), [], 1, 0
    for source in _sources(path):
        # Photos do not follow each other as frames do.
        with source, FaceMesh(max_faces=_FACES) as mesh:
            for frame in source:
                for face in mesh.detect(frame.image, frame.timestamp_ms):
                    if seen % stride == 0:
                        crops.append(crop_face(frame.image, aligner.matrix(face.mesh), size))
                    seen += 1
                    if len(crops) == _CANDIDATES:
                        crops, stride = crops[::2], 2 * stride
    if not crops:
        raise SourceError(f"There is no face in {path} to calibrate with.")
    return np.stack(crops)


def _sources(path: Path) -> Iterator[Source]:
    from edge.sources import IMAGE_SUFFIXES, open_source

    files = [path]
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        suffixes = (*IMAGE_SUFFIXES, ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm")
        files = [file for file in files if file.suffix.lower() in suffixes]
    for file in files:
        yield open_source(str(file))
