"""Formats for machines that do not run TFLite: ONNX, and TensorFlow's SavedModel."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np
import numpy.typing as npt

from export.prepare import prepare

if TYPE_CHECKING:
    import onnx

_CHANNEL_AXIS = {"Conv": 0, "ConvTranspose": 1}  # of the output's channels in a kernel


def onnx_graph(model: keras.Model, crop_size: int, batch: int = 1) -> bytes:
    """Converts a network to float32 ONNX.

    Transposed convolutions become convolutions, as ONNX Runtime has 8-bit kernels for these only,
    and batch normalisation disappears into them.

    Args:
        model: `keras.Model` from (B, S, S, 3) to a dict of named outputs.
        crop_size: Side S of the crops, px.
        batch: Number B of crops that the graph takes at once.

    Returns:
        A model that takes `image`, (B, S, S, 3) float32, and gives the model's outputs by name.

    Raises:
        ValueError: If the model needs an operation that ONNX does not have.
    """
    import onnx

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # Keras asks numpy whether it still has `numpy.object`, to give it back to tf2onnx.
        warnings.simplefilter("ignore", FutureWarning)
        path = Path(folder) / "graph.onnx"
        signature = [_image(crop_size, batch)]
        prepare(model).export(path, format="onnx", input_signature=signature, verbose=False)
        made = onnx.load(path)
    _fold(made.graph)
    try:
        onnx.checker.check_model(made, full_check=True)
    except onnx.checker.ValidationError as error:
        known = {schema.name for schema in onnx.defs.get_all_schemas()}
        foreign = sorted({node.op_type for node in made.graph.node} - known)
        reason = ", ".join(foreign) or str(error).partition("\n")[0]
        raise ValueError(f"ONNX has no operation for {reason}.") from None
    return bytes(made.SerializeToString())


def save_saved_model(
    model: keras.Model, folder: str | os.PathLike[str], crop_size: int, batch: int = 1
) -> None:
    """Writes a network as a SavedModel.

    Its signature `serving_default` takes `image`, (B, S, S, 3) float32, and gives the model's
    outputs by name.

    Args:
        model: `keras.Model` from (B, S, S, 3) to a dict of named outputs.
        folder: Where to write; made if need be.
        crop_size: Side S of the crops, px.
        batch: Number B of crops that it takes at once.
    """
    signature = [_image(crop_size, batch)]
    model.export(
        os.fspath(folder), format="tf_saved_model", input_signature=signature, verbose=False
    )


class OnnxGraph:
    """Runs an ONNX model, called as `edge.runtime.Graph` is.

    Args:
        content: The model.
        threads: Threads to run it with.
    """

    def __init__(self, content: bytes, *, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, **inputs: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        """Runs the model once.

        Args:
            **inputs: One float32 array of the declared shape for each input.

        Returns:
            A float32 array for each output.
        """
        return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))


class SavedModelGraph:
    """Runs a SavedModel by its signature `serving_default`, called as `edge.runtime.Graph` is.

    Args:
        folder: What `save_saved_model` has written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        import tensorflow as tf

        self._model = tf.saved_model.load(os.fspath(folder))  # which owns the weights
        self._signature = self._model.signatures["serving_default"]

    def __call__(self, **inputs: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        """Runs the model once.

        Args:
            **inputs: One float32 array of the declared shape for each input.

        Returns:
            A float32 array for each output.
        """
        import tensorflow as tf

        answers = self._signature(**{name: tf.constant(array) for name, array in inputs.items()})
        return {name: answer.numpy() for name, answer in answers.items()}


def _image(crop_size: int, batch: int) -> keras.InputSpec:
    shape = (batch, crop_size, crop_size, 3)
    return keras.InputSpec(shape=shape, dtype="float32", name="image")


def _fold(graph: onnx.GraphProto) -> None:
    """Takes what multiplies or adds to the channels of a convolution into its kernel and bias."""
    from onnx import numpy_helper

    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    reads = Counter(name for node in graph.node for name in node.input)
    reads.update(end.name for end in graph.output)
    made: dict[str, npt.NDArray[np.float32]] = {}
    for node in list(graph.node):
        if node.op_type not in {"Mul", "Add"}:
            continue
        for source, constant in (node.input, reversed(node.input)):
            layer = makers.get(source)
            if layer is None or layer.op_type not in _CHANNEL_AXIS or reads[source] > 1:
                continue
            if constant not in arrays or layer.input[1] not in arrays:
                continue
            values, kernel = arrays[constant], arrays[layer.input[1]]
            shape = np.ones(kernel.ndim, int)
            axis = _CHANNEL_AXIS[layer.op_type]
            shape[axis] = kernel.shape[axis]
            if values.size != shape[axis] or values.shape[-3:] != (values.size, 1, 1):
                continue
            values = values.reshape(-1)
            bias = arrays[layer.input[2]] if len(layer.input) > 2 else np.zeros_like(values)
            if node.op_type == "Mul":
                kernel, bias = kernel * values.reshape(shape), bias * values
            else:
                bias = bias + values
            # Under names of their own: another layer may read the same constants.
            own = {f"{node.output[0]}/kernel": kernel, f"{node.output[0]}/bias": bias}
            made |= own
            arrays |= own
            layer.input[:] = [layer.input[0], *own]
            layer.output[0] = node.output[0]
            makers[node.output[0]] = layer
            graph.node.remove(node)
            break
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    kept += [numpy_helper.from_array(made[name], name) for name in made if name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
