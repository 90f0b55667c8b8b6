"""Takes a TFLite graph apart: each operation with its weights becomes a graph of its own."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_OPERATIONS = {number: name for name, number in vars(schema.BuiltinOperator).items()}
_TYPES = {number: name.lower() for name, number in vars(schema.TensorType).items()}


def operations(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Takes out the operations of a graph, in their order.

    What only unpacks constants, such as 16-bit weights, comes along with the operation that they
    are for.

    Args:
        content: A TFLite flatbuffer.

    Yields:
        What the operation is called: its kind, and the shape and type of what it gives; and the
        flatbuffer.
    """
    model = schema.ModelT.InitFromPackedBuf(content)
    for buffer in model.buffers:
        if buffer.size:  # it lies behind the flatbuffer
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    graph = model.subgraphs[0]
    unpacking: dict[int, list[Any]] = {}  # tensor -> operations that make it of constants

    def constant(tensor: int) -> bool:
        data = model.buffers[graph.tensors[tensor].buffer].data
        return tensor in unpacking or (data is not None and len(data) > 0)

    for operator in graph.operators:
        inputs = [int(tensor) for tensor in operator.inputs if tensor >= 0]
        needed = [one for tensor in inputs for one in unpacking.get(tensor, ())]
        if inputs and all(map(constant, inputs)):
            unpacking |= {int(tensor): [*needed, operator] for tensor in operator.outputs}
            continue
        given = [tensor for tensor in inputs if not constant(tensor)]
        yield _name(model, operator), _single(model, [*needed, operator], given)


def _name(model: Any, operator: Any) -> str:
    code = model.operatorCodes[operator.opcodeIndex]
    answer = model.subgraphs[0].tensors[operator.outputs[0]]
    shape = "x".join(str(side) for side in answer.shape)
    return f"{_OPERATIONS[code.builtinCode]} {shape} {_TYPES[answer.type]}"


def _single(model: Any, operators: Sequence[Any], given: Sequence[int]) -> bytes:
    """Packs operations as a graph; the last of them gives its outputs."""
    whole = model.subgraphs[0]
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = [], []
    buffers, places = [schema.BufferT()], {-1: -1}

    def place(tensor: int) -> int:
        if tensor not in places:
            places[tensor] = len(graph.tensors)
            moved = copy.copy(whole.tensors[tensor])
            data = model.buffers[moved.buffer]
            moved.buffer = 0
            if data.data is not None and len(data.data):
                moved.buffer = len(buffers)
                buffers.append(data)
            graph.tensors.append(moved)
        return places[tensor]

    for operator in operators:
        moved = copy.copy(operator)
        moved.inputs, moved.outputs = (
            [place(int(tensor)) for tensor in side] for side in (operator.inputs, operator.outputs)
        )
        graph.operators.append(moved)
    graph.inputs = [place(tensor) for tensor in dict.fromkeys(given)]
    graph.outputs = graph.operators[-1].outputs
    single = schema.ModelT()
    single.version, single.operatorCodes = model.version, model.operatorCodes
    single.subgraphs, single.buffers = [graph], buffers
    builder = flatbuffers.Builder()
    builder.Finish(single.Pack(builder), b"TFL3")
    return bytes(builder.Output())
