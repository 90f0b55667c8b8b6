"""A model file that says what it is: a `.tflite` with `tfau.json` inside."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfau.core.action_units import INTENSITY_MAX, AUSet
from tfau.core.align import FaceAligner
from tfau.core.errors import BundleError
from tfau.core.files import whole_file
from tfau.core.heatmaps import HeatmapCodec

FORMAT = 1
_MEMBER = "tfau.json"


@dataclass(frozen=True)
class EdgeBundle:
    """Describes the graph of a `.tflite` file.

    The description travels as a zip member behind the graph: every TFLite runtime ignores it, and
    `unzip -p MODEL.tflite tfau.json` prints it. The graph takes `image`, (1, S, S, 3) float32 RGB
    in [0, 255], and gives `heatmaps`, (1, S / stride, S / stride, P) float32.

    Args:
        aus: Units of the model, in the order of its answers.
        crop_size: Side S of the crops it reads, px.
        recipe: Name of the quantisation recipe, e.g. `"static_wi8_ai8"`.
        stride: Crop pixels to a map pixel.
        sigma: Width of the bumps in the maps, map px.
        threshold: Intensity from which a unit counts as present.
        expected_error: For each unit the mean absolute error, on held-out data, where the model
            reads it as 0, 1, ... 5, see `tfau.core.uncertainty`; None where it is not known.
        provenance: Where the weights come from: data, licence, allowed use, versions.
        measured: Scores on held-out data and parity with the trained model.
        graph_sha256: Checksum of the graph; set by `write`.
    """

    aus: AUSet
    crop_size: int
    recipe: str
    stride: int = 4
    sigma: float = 2.0
    threshold: float = 1.0
    expected_error: Sequence[Sequence[float | None]] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    graph_sha256: str = ""

    @property
    def codec(self) -> HeatmapCodec:
        """Reads the model's maps."""
        return HeatmapCodec(self.crop_size, self.stride, self.sigma)

    @property
    def aligner(self) -> FaceAligner:
        """Cuts the crops the model was trained on."""
        return FaceAligner(self.crop_size)

    @property
    def error_table(self) -> npt.NDArray[np.float32]:
        """(A, 6) `expected_error`, NaN where it is not known; ValueError if it is no such table."""
        shape = len(self.aus), int(INTENSITY_MAX) + 1
        if self.expected_error is None:
            return np.full(shape, np.nan, np.float32)
        table = np.array(self.expected_error, np.float32)  # JSON's null becomes NaN
        if table.shape != shape:
            raise ValueError(f"`expected_error` must be {shape}. Received: {table.shape}.")
        return table

    def describe(self) -> dict[str, Any]:
        """Returns the content of `tfau.json`."""
        return {
            "format": FORMAT,
            "action_units": list(self.aus.numbers),
            "points": list(self.aus.point_names),
            "crop": {"size": self.crop_size, "template": "tfau.core.align 1"},
            "decoder": {
                "kind": "heatmaps",
                "stride": self.stride,
                "sigma": self.sigma,
                "expected_error": self.expected_error,
            },
            "threshold": self.threshold,
            "recipe": self.recipe,
            "provenance": dict(self.provenance),
            "measured": dict(self.measured),
            "graph_sha256": self.graph_sha256,
        }

    def write(self, path: str | os.PathLike[str], graph: bytes) -> Path:
        """Writes graph and description as one file, all or nothing.

        Args:
            path: The `.tflite` to make; its folder must exist.
            graph: A TFLite flatbuffer.

        Returns:
            The path.
        """
        path = Path(path)
        described = {**self.describe(), "graph_sha256": hashlib.sha256(graph).hexdigest()}
        # Python's zipfile writes offsets from the start of the file, which is what a reader of
        # "something in front of a zip" expects; a fixed date keeps the bytes reproducible.
        buffer = io.BytesIO(graph)
        buffer.seek(0, io.SEEK_END)
        with zipfile.ZipFile(buffer, "a") as archive:
            member = zipfile.ZipInfo(_MEMBER, (1980, 1, 1, 0, 0, 0))
            archive.writestr(member, json.dumps(described, indent=1, sort_keys=True))
        with whole_file(path) as unfinished:
            unfinished.write_bytes(buffer.getvalue())
        return path

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> EdgeBundle:
        """Reads the description of a model file.

        Raises:
            BundleError: If the file is missing, damaged, or no model of ours.
        """
        return cls.open(path)[0]

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> tuple[EdgeBundle, bytes]:
        """Reads description and graph, and checks that they belong together.

        Returns:
            The description and the TFLite flatbuffer, without what lies behind it.

        Raises:
            BundleError: If the file is missing, damaged, or no model of ours.
        """
        path = Path(path)
        if not path.is_file():
            raise BundleError(f"There is no model file at {path}.")
        data = path.read_bytes()
        if data[4:8] != b"TFL3":
            raise BundleError(f"{path} is not a TFLite model.")
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                start = archive.getinfo(_MEMBER).header_offset
                described = json.loads(archive.read(_MEMBER))
        except (zipfile.BadZipFile, KeyError, ValueError):
            raise BundleError(
                f"{path} carries no readable {_MEMBER}: it is damaged or was not made by "
                "`python -m export`."
            ) from None
        if described.get("format") != FORMAT:
            raise BundleError(
                f"{path} has format {described.get('format')!r}; this version of tfau reads "
                f"format {FORMAT}. Export it again."
            )
        graph = data[:start]
        if hashlib.sha256(graph).hexdigest() != described.get("graph_sha256"):
            raise BundleError(f"{path} is damaged: its graph does not match its checksum.")
        try:
            bundle = cls(
                aus=AUSet(described["action_units"]),
                crop_size=FaceAligner(described["crop"]["size"]).crop_size,
                recipe=described["recipe"],
                stride=described["decoder"]["stride"],
                sigma=described["decoder"]["sigma"],
                threshold=described["threshold"],
                expected_error=described["decoder"].get("expected_error"),
                provenance=described["provenance"],
                measured=described["measured"],
                graph_sha256=described["graph_sha256"],
            )
            if list(bundle.aus.point_names) != described["points"]:
                raise ValueError("its point names are not ours")
            _ = bundle.error_table  # raises if it is none
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{path} has a {_MEMBER} that cannot be read: {error}.") from None
        return bundle, graph
