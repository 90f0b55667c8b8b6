"""A face that everyone may have, and what a graph says of it: the self-test inside each file."""

from __future__ import annotations

from importlib import resources

import cv2
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from edge.runtime import Graph, filled
from export.quantize import RECIPES
from tfau.core import Golden

EVERY = 4
_STEP = 1.01  # of an 8-bit answer, and what rounding adds


def golden(
    graph: bytes, recipe: str, crop_size: int, *, batch: int = 1, mixed: bool = False
) -> Golden:
    """Asks a graph about a rendered face.

    It is one of those that come with tfau, not one that the network was trained on: crops of
    licensed data must not travel in a file.

    Args:
        graph: A TFLite flatbuffer.
        recipe: How it was made, a row of `RECIPES`.
        crop_size: Side S of its crops, px.
        batch: Crops that it takes at once.
        mixed: Whether layers of it are left in float32, which round as the machine does, and may so
            move the 8-bit ones after them.

    Returns:
        The crop, every fourth pixel of the answer, and how far another machine may be from it.
    """
    image = face(crop_size)
    maps = Graph(graph)(image=filled(image[None], batch))["heatmaps"][0]
    tolerance = RECIPES[recipe].tolerance
    if tolerance is None:
        step = _output_step(graph)
        tolerance = 5e-2 if step is None else _STEP * (2 if mixed else 1) * step
    return Golden(image, np.ascontiguousarray(maps[::EVERY, ::EVERY]), EVERY, tolerance)


def face(crop_size: int) -> npt.NDArray[np.uint8]:
    """Reads the first rendered face of the package that smiles."""
    from tfds_builders.synthetic_faces.shards import read_shard

    shards = resources.files("tfds_builders.synthetic_faces") / "tiny"
    with resources.as_file(shards) as folder:
        first = min(folder.glob("*.npz"))
        example = next(
            one for one in read_shard(first) if one["left"][list(one["numbers"]).index(12)] > 3
        )
    jpeg = cv2.imdecode(np.frombuffer(example["jpeg"], np.uint8), cv2.IMREAD_COLOR_RGB)
    return np.asarray(cv2.resize(np.asarray(jpeg), (crop_size, crop_size)), np.uint8)


def _output_step(graph: bytes) -> float | None:
    """Returns what a step of the 8-bit maps is, intensity units; None if they are float32."""
    model = schema.ModelT.InitFromPackedBuf(graph)
    (subgraph,) = model.subgraphs
    for operator in subgraph.operators:
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        if code == schema.BuiltinOperator.DEQUANTIZE and operator.outputs[0] == subgraph.outputs[0]:
            return float(subgraph.tensors[operator.inputs[0]].quantization.scale[0])
    return None
