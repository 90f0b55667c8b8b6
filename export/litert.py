"""A trained network becomes a TFLite graph: fixed shapes, named ends, built-in operations only."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import keras
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from tensorflow.lite.python.convert import ConverterError

from export.prepare import prepare


def convert(model: keras.Model, crop_size: int, batch: int = 1) -> bytes:
    """Converts a network to float32 TFLite.

    The batch is fixed: a free one is refused by browsers and slower everywhere. Batch
    normalisation disappears into the convolutions before it, the transposed ones too.

    Args:
        model: `keras.Model` from (B, S, S, 3) to a dict of named outputs.
        crop_size: Side S of the crops, px.
        batch: Number B of crops that the graph takes at once.

    Returns:
        A flatbuffer that takes `image`, (B, S, S, 3) float32, and gives the model's outputs by
        name.

    Raises:
        ValueError: If the model needs an operation that TFLite does not have built in.
    """
    shape = (batch, crop_size, crop_size, 3)
    image = keras.InputSpec(shape=shape, dtype="float32", name="image")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.tflite"
        try:
            prepare(model).export(
                path,
                format="litert",
                input_signature=[image],
                verbose=False,
                # Keras' own default lets TensorFlow's ("Flex") operations through, which no edge
                # runtime has.
                target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]},
            )
        except ConverterError as error:
            culprits = sorted(set(re.findall(r"'(tf\.\w+)' op", str(error))))
            reason = ", ".join(culprits) or str(error).partition("\n")[0]
            raise ValueError(f"TFLite has no built-in operation for {reason}.") from None
        return path.read_bytes()


def check(graph: bytes, crop_size: int, channels: int, *, stride: int = 4, batch: int = 1) -> None:
    """Checks that any of our runtimes can run a graph, and how it must be called.

    Args:
        graph: A TFLite flatbuffer.
        crop_size: Side S of the crops, px.
        channels: Number P of maps.
        stride: Crop pixels to a map pixel.
        batch: Number B of crops that it takes at once.

    Raises:
        ValueError: If an operation is not built in, or the ends are not `image`,
            (B, S, S, 3) float32, and `heatmaps`, (B, S / stride, S / stride, P) float32.
    """
    model = schema.ModelT.InitFromPackedBuf(graph)
    foreign = [code.customCode.decode() for code in model.operatorCodes if code.customCode]
    if foreign:
        raise ValueError(f"TFLite has no built-in operation for {', '.join(foreign)}.")

    def ends(maps: list[schema.TensorMapT]) -> dict[str, tuple[list[int], bool]]:
        tensors = {end.name.decode(): model.subgraphs[0].tensors[end.tensorIndex] for end in maps}
        return {
            name: (list(tensor.shape), tensor.type == schema.TensorType.FLOAT32)
            for name, tensor in tensors.items()
        }

    side = crop_size // stride
    (signature,) = model.signatureDefs
    found = ends(signature.inputs), ends(signature.outputs)
    expected = (
        {"image": ([batch, crop_size, crop_size, 3], True)},
        {"heatmaps": ([batch, side, side, channels], True)},
    )
    if found != expected:
        raise ValueError(
            f"The ends of the graph must be {expected} (shape, is float32). Received: {found}."
        )
