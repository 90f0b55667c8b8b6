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


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """Holds a finished run. It needs no data set: the crops travel in the run folder.

    Args:
        folder: `runs/NAME`, made by `python -m tfau.train`.
        config: What it was trained with.
        provenance: Data set, licence and versions, as training wrote them down.
        calibration: (N, S, S, 3) uint8 crops of the training split.
        crops: (M, S, S, 3) uint8 crops of the test split.
        points: (M, P, 3) float32 true points of `crops`; NaN intensity where not coded.
    """

    folder: Path
    config: TrainConfig
    provenance: dict[str, Any]
    calibration: npt.NDArray[np.uint8]
    crops: npt.NDArray[np.uint8]
    points: npt.NDArray[np.float32]

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> TrainedRun:
        """Reads everything but the network, and checks that it belongs together.

        Raises:
            ValueError: If the folder is no finished run, or a file in it is damaged.
        """
        folder = Path(folder)
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
        for name in ("model.keras", "calibration.npz", "provenance.json"):
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
                crops, points = arrays["test_images"], arrays["test_points"]
        except (EOFError, KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{folder / 'calibration.npz'} cannot be read: {error}.") from None

        size, channels = config.crop_size, len(AUSet(config.aus).point_names)
        for name, array, shape in (
            ("images", calibration, (size, size, 3)),
            ("test_images", crops, (size, size, 3)),
            ("test_points", points, (channels, 3)),
        ):
            if array.shape[1:] != shape or not len(array) or len(points) != len(crops):
                raise ValueError(
                    f"`{name}` of {folder / 'calibration.npz'} must be (N, {str(shape)[1:]} with "
                    f"N at least 1, as its config says. Received: shape {array.shape}."
                )
        return cls(folder, config, provenance, calibration, crops, points)

    @property
    def name(self) -> str:
        """Name of the run, and of the files made from it."""
        return self.config.name

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
            ValueError: If the file is damaged or does not fit the config.
        """
        import keras

        from tfau.models import heatmap_net

        path = self.folder / "model.keras"
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
