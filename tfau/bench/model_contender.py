"""A contender of `python -m tfau.bench model`: answers crops, in a process of its own."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.runtime import find_runtime
from tfau.bench.turns import WARM_UP, serve
from tfau.core.bundle import EdgeBundle
from tfau.core.quiet import quiet_natives

LITERT, ONNXRUNTIME, PYTORCH = "litert", "onnxruntime", "torch"

_OPERATION_RUNS, _OPERATION_SECONDS = 7, 0.05

Step = Callable[[], object]


@dataclass(frozen=True)
class Task:
    """Says what answers, and how.

    Args:
        engine: `LITERT`, `ONNXRUNTIME`, or `PYTORCH`, which needs no file.
        file: The model.
        threads: Threads to run it with.
        xnnpack: Whether LiteRT may hand operations to XNNPACK, its fast kernels.
        batch: Crops that PyTorch takes at once; files know by themselves.
        crop_size: Side of the crops that PyTorch takes, px.
        points: Maps that PyTorch gives.
        profile: Also measure each operation by itself.
    """

    engine: str
    file: str = ""
    threads: int = 1
    xnnpack: bool = True
    batch: int = 1
    crop_size: int = 0
    points: int = 0
    profile: bool = False


def natural_crops(count: int, side: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Makes (N, S, S, 3) crops that have as much to see at every scale, as photos have."""
    random = np.random.default_rng(seed)
    crops = np.full((count, side, side, 3), 128.0)
    size = side
    while size:
        cells = -(-side // size)
        noise = random.normal(0.0, 25.0, (count, cells, cells, 3))
        crops += noise.repeat(size, axis=1).repeat(size, axis=2)[:, :side, :side]
        size //= 2
    return np.asarray(np.clip(crops, 0, 255), np.float32)


def _litert(task: Task) -> tuple[Step, dict[str, Any]]:
    package, _ = find_runtime()
    _, content = EdgeBundle.open(task.file)
    interpreter = _interpreter(content, task)
    taken, given = interpreter.get_input_details(), interpreter.get_output_details()
    (image,) = (detail for detail in taken if len(detail["shape"]) == 4)
    batch, side = (int(length) for length in image["shape"][:2])
    values = {detail["index"]: np.zeros(detail["shape"], np.float32) for detail in taken}
    values[image["index"]] = natural_crops(batch, side)

    def step() -> Any:
        for index, value in values.items():
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        return [interpreter.get_tensor(detail["index"]) for detail in given]

    facts: dict[str, Any] = {"runtime": _versioned(package.replace("_", "-")), "batch": batch}
    if task.profile:
        facts["operations"] = _operations(content, task)
    return step, facts


def _interpreter(content: bytes, task: Task) -> Any:
    _, interpreter = find_runtime()
    resolvers = sys.modules[interpreter.__module__].OpResolverType
    resolver = resolvers.AUTO if task.xnnpack else resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with quiet_natives():
        made = interpreter(
            model_content=content,
            num_threads=task.threads,
            experimental_op_resolver_type=resolver,
        )
        made.allocate_tensors()
    return made


def _operations(content: bytes, task: Task) -> list[tuple[str, float]]:
    """Runs each operation by itself; returns what it is called, and its median seconds."""
    from tfau.bench.operations import operations

    random, found = np.random.default_rng(0), []
    for name, single in operations(content):
        interpreter = _interpreter(single, task)
        for detail in interpreter.get_input_details():
            values = np.zeros(detail["shape"], detail["dtype"])  # whole numbers may be places
            if detail["dtype"] == np.float32:
                values = random.random(detail["shape"], np.float32)
            elif detail["dtype"] == np.int8:
                values = random.integers(-128, 128, detail["shape"], np.int8)
            interpreter.set_tensor(detail["index"], values)
        for _ in range(WARM_UP):
            interpreter.invoke()
        times: list[float] = []
        while len(times) < _OPERATION_RUNS or sum(times) < _OPERATION_SECONDS:
            started = time.perf_counter()
            interpreter.invoke()
            times.append(time.perf_counter() - started)
        found.append((name, statistics.median(times)))
    return found


def _onnxruntime(task: Task) -> tuple[Step, dict[str, Any]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = task.threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(task.file, options, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    batch, side, _, _ = image.shape
    crops = {image.name: natural_crops(batch, side)}
    return lambda: session.run(None, crops), {"runtime": _versioned("onnxruntime"), "batch": batch}


def _pytorch(task: Task) -> tuple[Step, dict[str, Any]]:
    """Makes the step of PyTorch: eager, channels last."""
    import torch

    from tfau.bench.torch_net import HeatmapNet

    torch.set_num_threads(task.threads)
    net = HeatmapNet(task.points).to("cpu", memory_format=torch.channels_last).eval()
    crops = torch.from_numpy(natural_crops(task.batch, task.crop_size)).permute(0, 3, 1, 2)

    def step() -> Any:
        with torch.inference_mode():
            return net(crops)

    return step, {"runtime": _versioned("torch"), "batch": task.batch}


def _versioned(package: str) -> str:
    return f"{package} {version(package)}"


def _make(words: dict[str, Any]) -> tuple[Step, dict[str, Any]]:
    task = Task(**words)
    engines = {LITERT: _litert, ONNXRUNTIME: _onnxruntime, PYTORCH: _pytorch}
    return engines[task.engine](task)


if __name__ == "__main__":
    serve(_make)
