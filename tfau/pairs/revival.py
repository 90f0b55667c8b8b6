"""A pair network made anew of its file for the edge, so that whoever has the file can train it."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from tfau.core import EdgeBundle
from tfau.models import backbones
from tfau.models.pair_net import AUPairNet
from tfau.pairs.lessons import Lessons

Floats = npt.NDArray[np.float32]

MAX_APART = 0.05
"""Mean difference from the file's golden answer, in intensity, beyond which it is another one."""

_KERNELS = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.FULLY_CONNECTED)


def revived(path: Path, lessons: Lessons, crops: int = 1024) -> AUPairNet:
    """Makes the network of a `.tflite` of ours.

    A file holds kernels with batch normalisation folded into them, in 8, 16 or 32
    bits. The statistics are taken anew from crops, so that training goes on as if they had never
    been folded; until then the network answers as the file does, but for what 8 bits lose.

    Args:
        path: A file that `python -m export` made of a pair network.
        lessons: N examples to take statistics from.
        crops: How many of them.

    Returns:
        The network.

    Raises:
        ValueError: If the file is of another kind of network, or the network answers otherwise.
    """
    bundle, graph = EdgeBundle.open(path)
    network = bundle.provenance.get("network") or {}
    if not bundle.features or bundle.golden is None or bundle.golden.mesh is None:
        raise ValueError(f"{path} is not of a pair network.")
    kernels, standard = _folded(graph)
    backbone = backbones.named(network.get("backbone", "compact"))(bundle.crop_size)
    try:
        widths = {
            argument: len(kernels[layer][1])
            for argument, layer in (
                ("channels", "narrow"),
                ("seen", "places"),
                ("shaped", "shape2"),
                ("hidden", "compare"),
            )
        }
        net = AUPairNet(backbone, len(bundle.aus.point_names), **widths)
        if bundle.features != 2 * (net.seen + net.shaped):
            raise ValueError("it does not see a mirror image; export its run anew")
        normalised = _unfold(net, kernels, standard)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} does not hold what its network needs: {error}.") from None
    rows = np.linspace(0, len(lessons) - 1, min(crops, len(lessons))).astype(int)
    _take_statistics(net, normalised, lessons.part(np.unique(rows)))

    said = net.both_ways(bundle.aus.flip_index)(
        {
            "image": bundle.golden.image[None].astype(np.float32),
            "mesh": bundle.golden.mesh[None],
            "neutral": np.zeros((1, bundle.features), np.float32),
        },
        training=False,
    )["intensity"]
    apart = float(
        np.abs(keras.ops.convert_to_numpy(said).ravel() - bundle.golden.answer.ravel()).mean()
    )
    if not apart <= MAX_APART:
        raise ValueError(f"The network made of {path} is {apart:.2g} from the file's own answer.")
    return net


def _folded(graph: bytes) -> tuple[dict[str, tuple[Floats, Floats]], tuple[Floats, Floats]]:
    """Reads name -> (kernel as in TFLite, bias), and what the mesh is multiplied with and moved by.

    A name is all that the converter calls the kernel and what comes of it, cut at `/` and `;`.
    """
    model = schema.ModelT.InitFromPackedBuf(graph)
    (subgraph,) = model.subgraphs

    codes = [code.builtinCode for code in model.operatorCodes]
    widened = {
        operator.outputs[0]: operator.inputs[0]
        for operator in subgraph.operators
        if codes[operator.opcodeIndex] == schema.BuiltinOperator.DEQUANTIZE
    }

    def constant(index: int) -> Floats | None:
        if index < 0:
            return None
        index = widened.get(index, index)  # numbers of 16 bits
        tensor = subgraph.tensors[index]
        buffer = model.buffers[tensor.buffer]
        data = graph[
            buffer.offset : buffer.offset + buffer.size
        ]  # the quantiser writes them behind
        if buffer.data is not None:
            data = np.asarray(buffer.data, np.uint8).tobytes()
        if not data:
            return None
        kinds = {
            schema.TensorType.FLOAT32: np.float32,
            schema.TensorType.FLOAT16: np.float16,
            schema.TensorType.INT8: np.int8,
            schema.TensorType.INT32: np.int32,
        }
        values = np.frombuffer(data, kinds[tensor.type])
        values = values.reshape(tensor.shape).astype(np.float32)
        if tensor.quantization is not None and tensor.quantization.scale is not None:
            scale = np.asarray(tensor.quantization.scale, np.float32)
            zero = np.asarray(tensor.quantization.zeroPoint, np.float32)
            shape = (-1, *[1] * (values.ndim - 1)) if len(scale) > 1 else (1,) * values.ndim
            values = (values - zero.reshape(shape)) * scale.reshape(shape)
        return values

    kernels: dict[str, tuple[Floats, Floats]] = {}
    scale = shift = None
    for operator in subgraph.operators:
        code = codes[operator.opcodeIndex]
        names = ";".join(
            subgraph.tensors[k].name.decode() for k in (*operator.inputs[1:2], *operator.outputs)
        )
        if code in _KERNELS:
            kernel, bias = (constant(index) for index in operator.inputs[1:3])
            if kernel is None:
                continue
            bias = np.zeros(len(kernel), np.float32) if bias is None else bias
            for name in re.split("[/;]", names):
                kernels.setdefault(re.sub(r"_\d+$", "", name), (kernel, bias))
        elif "/standard_" in names and code == schema.BuiltinOperator.MUL:
            scale = constant(operator.inputs[1])
        elif "/standard_" in names and code == schema.BuiltinOperator.ADD:
            shift = constant(operator.inputs[1])
    if scale is None or shift is None:
        raise ValueError("what a mesh is compared with is missing")
    return kernels, (scale, shift)


def _unfold(
    net: AUPairNet, kernels: dict[str, tuple[Floats, Floats]], standard: tuple[Floats, Floats]
) -> dict[str, layers.BatchNormalization]:
    """Fills the layers; normalisations add the bias and nothing else. Returns those by name."""
    every = {layer.name: layer for part in (net.backbone, net) for layer in part.layers}
    normalised = {}
    for name, layer in every.items():
        if not isinstance(layer, layers.Conv2D | layers.Dense):
            continue
        kernel, bias = kernels[name]
        kernel = kernel.transpose(1, 2, 3, 0) if kernel.ndim == 4 else kernel.T
        if (norm := every.get(f"{name}_bn")) is None:
            layer.set_weights([kernel, bias])
            continue
        layer.set_weights([kernel])
        ones = np.ones_like(bias)
        norm.set_weights([ones, bias, 0 * ones, ones - norm.epsilon])
        normalised[norm.name] = norm
    scale, shift = standard
    layer = net.halves.standard
    layer.set_weights([-shift / scale, scale**-2 - layer.epsilon])
    return normalised


def _take_statistics(
    net: AUPairNet, normalised: dict[str, layers.BatchNormalization], lessons: Lessons
) -> None:
    """Has every normalisation take off the mean that it meets, and put it on again."""
    inner = {layer.name for layer in net.backbone.layers}
    halves = [
        {name: n.input for name, n in normalised.items() if (name in inner) == k} for k in (1, 0)
    ]
    look = keras.Model(net.backbone.input, halves[0])
    feel = keras.Model({name: net.input[name] for name in ("image", "mesh")}, halves[1])
    sums: dict[str, npt.NDArray[np.float64]] = {}
    for start in range(0, len(lessons), 128):
        part = slice(start, start + 128)
        image = lessons.images[part].astype(np.float32)
        met = look(image, training=False)
        met |= feel({"image": image, "mesh": lessons.meshes[part]}, training=False)
        for name, values in met.items():
            flat = (
                keras.ops.convert_to_numpy(values).astype(np.float64).reshape(-1, values.shape[-1])
            )
            found = np.array([flat.mean(axis=0), np.square(flat).mean(axis=0)]) * len(image)
            sums[name] = sums.get(name, np.zeros_like(found)) + found
    for name, norm in normalised.items():
        mean, square = sums[name] / len(lessons)
        variance = np.maximum(square - mean**2, 1e-8)
        _, bias, _, _ = norm.get_weights()
        norm.set_weights([np.sqrt(variance + norm.epsilon), bias + mean, mean, variance])
