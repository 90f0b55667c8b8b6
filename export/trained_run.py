"""What a finished training run hands to the exporter."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tfau.configs import TrainConfig
from tfau.core import AUSet, HeatmapCodec

if TYPE_CHECKING:
    import keras

_LABELLED = ("images", "points", "subjects")


@dataclass(frozen=True, eq=False)
class LabelledCrops:
    """Holds crops of people, and what is true of them.

    Args:
        images: (M, S, S, 3) uint8.
        points: (M, P, 3) float32 true points; NaN intensity where not coded.
        subjects: (M,) who is seen.
    """

    images: npt.NDArray[np.uint8]
    points: npt.NDArray[np.float32]
    subjects: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """Holds a finished run. It needs no data set: the crops travel in the run folder.

    Args:
        folder: `runs/NAME`, made by `python -m tfau.train`.
        model_file: The network in it that is meant, `model.keras` as a rule.
        config: What it was trained with.
        provenance: Data set, licence and versions, as training wrote them down.
        calibration: (N, S, S, 3) uint8 crops of the training people that show all units.
        held: Crops of people it was not trained on, to choose by; those that chose the epoch.
        test: Crops of people who chose nothing, to verify with.
    """

    folder: Path
    model_file: str
    config: TrainConfig
    provenance: dict[str, Any]
    calibration: npt.NDArray[np.uint8]
    held: LabelledCrops
    test: LabelledCrops

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> TrainedRun:
        """Reads everything but the network, and checks that it belongs together.

        Args:
            path: The folder of a run, or a `.keras` file in one.

        Raises:
            ValueError: If the folder is no finished run, or a file in it is damaged.
        """
        folder, model_file = Path(path), "model.keras"
        if folder.suffix == ".keras" and not folder.is_dir():
            folder, model_file = folder.parent, folder.name
        if not folder.is_dir():
            raise ValueError(
                f"There is no run folder at {folder}. `python -m tfau.train` makes one."
            )
        config = TrainConfig.read(folder / "config.json")
        if config.network != "heatmap":
            raise ValueError(
                f"{folder} holds a network of the kind {config.network}; only heatmap networks can "
                "be exported."
            )
        for name in (model_file, "calibration.npz", "provenance.json"):
            if not (folder / name).is_file():
                raise ValueError(
                    f"{folder} has no {name}: its training is not finished. "
                    "Repeat its `python -m tfau.train` command with --resume."
                )
        try:
            provenance = dict(json.loads((folder / "provenance.json").read_text()))
        except (OSError, TypeError, ValueError) as error:
            raise ValueError(f"{folder / 'provenance.json'} cannot be read: {error}.") from None
        try:
            with (folder / "calibration.npz").open("rb") as file, np.load(file) as arrays:
                calibration = arrays["images"]
                held, test = (
                    LabelledCrops(*(arrays[f"{part}_{name}"] for name in _LABELLED))
                    for part in ("held", "test")
                )
        except (EOFError, KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{folder / 'calibration.npz'} cannot be read: {str(error).rstrip('.')}. Delete it "
                "and repeat the `python -m tfau.train` command with --resume: that writes it anew."
            ) from None
        run = cls(folder, model_file, config, provenance, calibration, held, test)
        run._check()
        return run

    def _check(self) -> None:
        """Compares the crops with the config; ValueError if they do not fit."""
        size, channels = self.config.crop_size, len(self.aus.point_names)
        shapes: list[tuple[str, npt.NDArray[Any], tuple[int, ...], int]]
        shapes = [("images", self.calibration, (size, size, 3), len(self.calibration))]
        for part, crops in (("held", self.held), ("test", self.test)):
            for name, shape in zip(_LABELLED, ((size, size, 3), (channels, 3), ()), strict=True):
                shapes.append((f"{part}_{name}", getattr(crops, name), shape, len(crops)))
        for name, array, shape, count in shapes:
            if array.shape != (count, *shape) or not count:
                raise ValueError(
                    f"`{name}` of {self.folder / 'calibration.npz'} must be (N, {str(shape)[1:]} "
                    f"with N at least 1, as its config says. Received: shape {array.shape}."
                )

    @property
    def name(self) -> str:
        """Name of the run, and of the files made from it."""
        return self.config.name

    @property
    def use(self) -> str:
        """Who may use the weights, and for what."""
        licence = str(self.provenance.get("licence", "unknown"))
        free = licence.startswith("CC0") and len(self.config.datasets) == 1
        use = (
            "anyone, for anything: the training data are CC0"
            if free
            else "only as the licence of the training data allows"
        )
        if self.config.weights:
            use += f"; it started from {Path(self.config.weights).name}, whose terms apply too"
        return use

    @cached_property
    def aus(self) -> AUSet:
        """Units of the network, in output order."""
        return AUSet(self.config.aus)

    @cached_property
    def codec(self) -> HeatmapCodec:
        """Reads the maps of the network."""
        return HeatmapCodec(self.config.crop_size, sigma=self.config.sigma)

    def network(self) -> keras.Model:
        """Loads the trained network.

        Raises:
            ValueError: If the file is damaged, needs code that is not ours, or does not fit the
                config.
        """
        import keras

        from tfau.models import heatmap_net

        path = self.folder / self.model_file
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            if damaged:
                raise ValueError(f"the checksum of {damaged} in it is wrong")
            model = keras.saving.load_model(path, compile=False)
        except (KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} cannot be read: {str(error).rstrip('.')}.") from None
        size, channels = self.codec.size, len(self.aus.point_names)
        if (
            not isinstance(model, heatmap_net.AUHeatmapNet)
            or model.input_shape[1] != self.config.crop_size
            or model.output_shape != (None, size, size, channels)
        ):
            raise ValueError(f"{path} is not the network that the config.json beside it describes.")
        return model
