"""A model file that says what it is: a `.tflite` with `tfau.json` inside."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfau.core.action_units import INTENSITY_MAX, AUSet
from tfau.core.align import FaceAligner
from tfau.core.errors import BundleError
from tfau.core.faces import MESH_VERTICES
from tfau.core.files import whole_file
from tfau.core.heatmaps import HeatmapCodec

FORMAT = 3
"""What is written. Read too are format 1, which knew no batch, kept layers or golden pair, and
format 2, which knew heatmaps only.
"""

MAX_BYTES = 2**29
"""Size beyond which a file is not even read."""

_MEMBER, _IMAGE, _ANSWER = "tfau.json", "golden_image.npy", "golden_answer.npy"
_MESH = "golden_mesh.npy"
_LIMITS = {_MEMBER: 2**20, _IMAGE: 2**22, _ANSWER: 2**22, _MESH: 2**20}  # bytes, unpacked
_TEMPLATE = "tfau.core.align 1"

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Golden:
    """Holds a crop and what a graph answered to it where it was made.

    Args:
        image: (S, S, 3) uint8.
        answer: (h, w, P) float32: every so many-th pixel of its maps in both directions; of a
            pair network its intensities, (1, 1, P).
        every: How many-th.
        tolerance: Most by which another machine may differ, intensity units; 0 = bit for bit.
        mesh: (468, 3) float32 that a pair network saw with the crop; None for other networks.
    """

    image: npt.NDArray[np.uint8]
    answer: npt.NDArray[np.float32]
    every: int
    tolerance: float
    mesh: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class EdgeBundle:
    """Describes the graph of a `.tflite` file.

    The description travels in a zip behind the graph: every TFLite runtime ignores it, and
    `unzip -p MODEL.tflite tfau.json` prints it. All ends of a graph are float32.

    The graph takes `image`, (B, S, S, 3) RGB in [0, 255], and gives `heatmaps`, (B, S / stride,
    S / stride, P). Or it is of a pair network (`features` is not 0): it also takes `mesh`,
    (B, 468, 3), see `FaceAligner.aligned_mesh`, and `neutral`, (B, D), the features of the person
    at rest, or zeros; and it gives `intensity` and `error`, (B, P), and `features`, (B, D).

    Args:
        aus: Units of the model, in the order of its answers.
        crop_size: Side S of the crops it reads, px.
        recipe: Name of the quantisation recipe, e.g. `"static_wi8_ai8"`.
        stride: Crop pixels to a map pixel.
        sigma: Width of the bumps in the maps, map px.
        threshold: Intensity from which a unit counts as present.
        expected_error: For each unit the mean absolute error, on held-out data, where the model
            reads it as 0, 1, ... 5, see `tfau.core.uncertainty`; None where it is not known.
        batch: Number B of crops that the graph takes at once.
        features: Number D of features of a pair network; 0 = a heatmap network.
        kept: Layers that quantising has left in float32.
        calibration: Which crops showed the range of every activation; empty if none did.
        provenance: Where the weights come from: data, licence, allowed use, versions.
        measured: Scores on held-out data and parity with the trained model.
        golden: A crop and the answer to it; None if the file has none.
        graph_sha256: Checksum of the graph; set where there is one.
    """

    aus: AUSet
    crop_size: int
    recipe: str
    stride: int = 4
    sigma: float = 2.0
    threshold: float = 1.0
    expected_error: Sequence[Sequence[float | None]] | None = None
    batch: int = 1
    features: int = 0
    kept: Sequence[str] = ()
    calibration: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    golden: Golden | None = None
    graph_sha256: str = ""

    @property
    def codec(self) -> HeatmapCodec:
        """Reads the model's maps."""
        return HeatmapCodec(self.crop_size, self.stride, self.sigma)

    @property
    def ends(self) -> tuple[Shapes, Shapes]:
        """Shapes of the inputs and of the outputs of the graph, by name."""
        batch, points, side = self.batch, len(self.aus.point_names), self.crop_size
        image: Shapes = {"image": (batch, side, side, 3)}
        if not self.features:
            maps = self.codec.size
            return image, {"heatmaps": (batch, maps, maps, points)}
        features = (batch, self.features)
        return (
            {**image, "mesh": (batch, MESH_VERTICES, 3), "neutral": features},
            {"intensity": (batch, points), "error": (batch, points), "features": features},
        )

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
        golden = self.golden
        return {
            "format": FORMAT,
            "action_units": list(self.aus.numbers),
            "points": list(self.aus.point_names),
            "crop": {"size": self.crop_size, "template": _TEMPLATE},
            "decoder": {"kind": "pair", "features": self.features}
            if self.features
            else {
                "kind": "heatmaps",
                "stride": self.stride,
                "sigma": self.sigma,
                "expected_error": self.expected_error,
            },
            "threshold": self.threshold,
            "batch": self.batch,
            "recipe": self.recipe,
            "kept": list(self.kept),
            "calibration": dict(self.calibration),
            "provenance": dict(self.provenance),
            "measured": dict(self.measured),
            "golden": golden and {"every": golden.every, "tolerance": golden.tolerance},
            "graph_sha256": self.graph_sha256,
        }

    def to_json(self, graph: bytes) -> str:
        """Returns the text of `tfau.json` beside a graph."""
        described = {**self.describe(), "graph_sha256": hashlib.sha256(graph).hexdigest()}
        return json.dumps(described, indent=1, allow_nan=False) + "\n"

    def content(self, graph: bytes) -> bytes:
        """Returns graph and description as one file.

        Args:
            graph: A TFLite flatbuffer.
        """
        members: dict[str, str | bytes] = {_MEMBER: self.to_json(graph)}
        if self.golden:
            golden = {_IMAGE: self.golden.image, _ANSWER: self.golden.answer}
            if self.golden.mesh is not None:
                golden[_MESH] = self.golden.mesh
            for name, array in golden.items():
                file = io.BytesIO()
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
                members[name] = file.getvalue()
        # Python's zipfile writes offsets from the start of the file, which is what a reader of
        # "something in front of a zip" expects; a fixed date keeps the bytes reproducible.
        buffer = io.BytesIO(graph)
        buffer.seek(0, io.SEEK_END)
        with zipfile.ZipFile(buffer, "a") as archive:
            for name, content in members.items():
                member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
                member.compress_type = (
                    zipfile.ZIP_STORED if name == _MEMBER else zipfile.ZIP_DEFLATED
                )
                archive.writestr(member, content)
        return buffer.getvalue()

    def write(self, path: str | os.PathLike[str], graph: bytes) -> Path:
        """Writes graph and description as one file, all or nothing.

        Args:
            path: The `.tflite` to make; its folder must exist.
            graph: A TFLite flatbuffer.

        Returns:
            The path.
        """
        path = Path(path)
        with whole_file(path) as unfinished:
            unfinished.write_bytes(self.content(graph))
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

        A file may come from a stranger. Nothing of it is unpacked beyond a limit, written anywhere
        or run, and what it says is checked before it is believed. The graph is as its maker made
        it, and so is what a runtime does with it.

        Returns:
            The description and the TFLite flatbuffer, without what lies behind it.

        Raises:
            BundleError: If the file is missing, damaged, or no model of ours.
        """
        path = Path(path)
        if not path.is_file():
            raise BundleError(f"There is no model file at {path}.")
        if path.stat().st_size > MAX_BYTES:
            raise BundleError(f"{path} is larger than any model: over {MAX_BYTES >> 20} MiB.")
        data = path.read_bytes()
        if data[4:8] != b"TFL3":
            raise BundleError(f"{path} is not a TFLite model.")
        try:
            start, members = _unpacked(data)
            described = _parsed(members[_MEMBER])
        except (KeyError, ValueError) as error:
            raise BundleError(
                f"{path} carries no readable {_MEMBER}, so it is damaged or was not made by "
                f"`python -m export`: {_said(error)}."
            ) from None
        version = described.get("format")
        if type(version) is int and version > FORMAT:
            raise BundleError(
                f"{path} has format {_short(version)}, and this version of tfau reads up to format "
                f"{FORMAT}: update tfau."
            )
        if version not in range(1, FORMAT + 1) or isinstance(version, bool):
            raise BundleError(f"{path} has a {_MEMBER} of no known format: {_short(version)}.")
        graph = data[:start]
        if hashlib.sha256(graph).hexdigest() != described.get("graph_sha256"):
            raise BundleError(f"{path} is damaged: its graph does not match its checksum.")
        try:
            return cls._of(described, members), graph
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(
                f"{path} has a {_MEMBER} that cannot be read: {_said(error)}."
            ) from None

    @classmethod
    def _of(cls, described: Mapping[str, Any], members: Mapping[str, bytes]) -> EdgeBundle:
        """Checks what a file says of itself; what format 1 did not know takes its default."""
        crop, decoder = _table(described, "crop"), _table(described, "decoder")
        if crop.get("template") != _TEMPLATE:
            raise ValueError(f"its crops are cut in another way: {_short(crop.get('template'))}")
        kind = decoder.get("kind")
        if kind not in ("heatmaps", "pair"):
            raise ValueError(f"its answers are of another kind: {_short(kind)}")
        if kind == "pair":
            decoder = {
                "stride": 4,
                "sigma": 2.0,
                "features": _whole(decoder["features"], "decoder.features", 1, 10_000),
            }
        bundle = cls(
            aus=AUSet([_whole(n, "action_units", 1, 99) for n in _list(described, "action_units")]),
            crop_size=FaceAligner(_whole(crop["size"], "crop.size", 32, 1024)).crop_size,
            recipe=_word(described["recipe"], "recipe"),
            stride=_whole(decoder["stride"], "decoder.stride", 1, 32),
            sigma=_number(decoder["sigma"], "decoder.sigma", 0.1, 100.0),
            threshold=_number(described["threshold"], "threshold", 0.0, INTENSITY_MAX),
            expected_error=_errors(decoder.get("expected_error")),
            batch=_whole(described.get("batch", 1), "batch", 1, 1024),
            features=decoder["features"] if kind == "pair" else 0,
            kept=[_word(name, "kept") for name in _list({"kept": [], **described}, "kept")],
            calibration=_table({"calibration": {}, **described}, "calibration"),
            provenance=_table(described, "provenance"),
            measured=_table(described, "measured"),
            graph_sha256=described["graph_sha256"],
        )
        if list(bundle.aus.point_names) != described["points"]:
            raise ValueError("its point names are not ours")
        side, channels = bundle.codec.size, len(bundle.aus.point_names)
        _ = bundle.error_table  # raises if it is none
        if described.get("golden") is None:
            return bundle
        golden = _table(described, "golden")
        side = 1 if bundle.features else side
        every = _whole(golden["every"], "golden.every", 1, side)
        few = -(-side // every)
        mesh = (MESH_VERTICES, 3)
        pair = Golden(
            _array(members[_IMAGE], np.uint8, (bundle.crop_size, bundle.crop_size, 3)),
            _array(members[_ANSWER], np.float32, (few, few, channels)),
            every,
            _number(golden["tolerance"], "golden.tolerance", 0.0, 100.0),
            _array(members[_MESH], np.float32, mesh) if bundle.features else None,
        )
        return dataclasses.replace(bundle, golden=pair)


def _unpacked(data: bytes) -> tuple[int, dict[str, bytes]]:
    """Unpacks the members behind a graph; says where they start. ValueError if that fails."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos, members = archive.infolist(), {}
            names = [info.filename for info in infos]
            if not set(names) <= set(_LIMITS) or len(set(names)) < len(names):
                raise ValueError(f"its members are {_short(names)}")
            for info in infos:
                with archive.open(info) as file:
                    limit = _LIMITS[info.filename]
                    members[info.filename] = file.read(limit + 1)  # whatever size is declared
                if len(members[info.filename]) > limit:
                    raise ValueError(f"{info.filename} is larger than {limit} bytes")
            return min((info.header_offset for info in infos), default=0), members
    except (
        *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
        *(NotImplementedError, OverflowError, RuntimeError),  # methods, sizes, passwords
    ) as error:
        raise ValueError(_said(error) or "its members cannot be unpacked") from None


def _parsed(text: bytes) -> dict[str, Any]:
    """Reads JSON as the standard has it: no NaN, no key twice. ValueError if it is none."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    def finite(word: str) -> float:
        number = float(word)
        if not math.isfinite(number):
            raise ValueError("a number is too large")
        return number

    def whole(word: str) -> int:
        if len(word) > 18:
            raise ValueError("a number is too large")
        return int(word)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key is there twice")
        return dict(pairs)

    try:
        parsed = json.loads(
            text.decode(),
            parse_constant=refuse,
            parse_float=finite,
            parse_int=whole,
            object_pairs_hook=once,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(parsed, dict):
        raise ValueError(f"it is {_short(parsed)}")
    return parsed


def _whole(value: Any, name: str, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(
            f"`{name}` must be a whole number from {low} to {high}, not {_short(value)}"
        )
    return value


def _number(value: Any, name: str, low: float, high: float) -> float:
    if type(value) not in (int, float) or not low <= value <= high:
        raise ValueError(f"`{name}` must be a number from {low:g} to {high:g}, not {_short(value)}")
    return float(value)


def _word(value: Any, name: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 1000 or not value.isprintable():
        raise ValueError(f"`{name}` must be a word, not {_short(value)}")
    return value


def _list(described: Mapping[str, Any], name: str) -> list[Any]:
    value = described[name]
    if not isinstance(value, list):
        raise ValueError(f"`{name}` must be a list, not {_short(value)}")
    return value


def _table(described: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = described[name]
    if not isinstance(value, dict):
        raise ValueError(f"`{name}` must be an object, not {_short(value)}")
    return value


def _errors(rows: Any) -> list[list[float | None]] | None:
    if rows is None:
        return None
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise ValueError(f"`decoder.expected_error` must be a list of lists, not {_short(rows)}")
    most, name = float(INTENSITY_MAX), "decoder.expected_error"
    return [[e if e is None else _number(e, name, 0.0, most) for e in row] for row in rows]


def _array(content: bytes, dtype: type, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Reads a `.npy` of which all is known but the numbers."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.zeros(shape, dtype), allow_pickle=False)
    length = math.prod(shape) * np.dtype(dtype).itemsize
    header = file.getvalue()[:-length]
    if len(content) != len(header) + length or not content.startswith(header):
        raise ValueError(f"its golden pair is no {np.dtype(dtype)} array of shape {shape}")
    array: npt.NDArray[Any] = np.frombuffer(content, dtype, offset=len(header)).reshape(shape)
    if not np.isfinite(array).all():
        raise ValueError("its golden pair holds what is no number")
    return array


def _said(error: Exception) -> str:
    """Makes part of a sentence of what an exception says."""
    if isinstance(error, KeyError):
        return f"it has no {_short(error.args[0])}"
    return " ".join(str(error).split()).rstrip(".")[:300]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
