"""A contender of `python -m tfau.bench train`: learns, in a process of its own.

Deep learning libraries do not share a process well.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfau.bench.turns import serve

PYTORCH = "pytorch"
"""The engine that is no backend of Keras, but PyTorch as it comes: what ours are compared with."""
NUM_POINTS = 34
LEARNING_RATE = 5e-4


@dataclass(frozen=True)
class Task:
    """Says what is done in a step.

    Args:
        engine: A Keras backend, or `PYTORCH`.
        precision: A row of `tfau.devices.PRECISIONS`; for PyTorch, that of `autocast`.
        backbone: A row of `tfau.models.backbones.BACKBONES`.
        crop_size: Side S of the crops, px.
        batch_size: Crops to a step.
    """

    engine: str
    precision: str
    backbone: str = "resnet_v1_50"
    crop_size: int = 256
    batch_size: int = 16

    def batch(self) -> tuple[Any, Any]:
        """Makes crops (B, S, S, 3) and the maps (B, S / 4, S / 4, P) that they should give."""
        random, side = np.random.default_rng(0), self.crop_size
        images = random.integers(0, 256, (self.batch_size, side, side, 3)).astype("float32")
        maps = random.random((self.batch_size, side // 4, side // 4, NUM_POINTS), "float32")
        return images, maps


def _pytorch(task: Task) -> tuple[Callable[[], float], dict[str, Any]]:
    """Makes the step of PyTorch: eager, channels last, the fused optimiser."""
    import torch

    from tfau.bench.torch_net import HeatmapNet

    device = "cuda" if torch.cuda.is_available() else "cpu"
    images, maps = (
        torch.from_numpy(array).to(device).permute(0, 3, 1, 2)  # channels stay last in memory
        for array in task.batch()
    )
    net = HeatmapNet(NUM_POINTS).to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE, fused=True)
    mixed = task.precision != "float32"

    def step() -> float:
        optimizer.zero_grad()
        with torch.autocast(device, getattr(torch, task.precision) if mixed else None, mixed):
            estimate = net(images)
        loss = torch.nn.functional.mse_loss(estimate.float(), maps)
        loss.backward()
        optimizer.step()
        return float(loss)

    return step, {"parameters": sum(value.numel() for value in net.parameters())}


def _keras(task: Task) -> tuple[Callable[[], float], dict[str, Any]]:
    """Makes the step of ours, with the options that a training has."""
    os.environ["KERAS_BACKEND"] = task.engine
    import keras  # before TensorFlow: torch would not survive it

    from tfau import devices
    from tfau.models import backbones
    from tfau.models.heatmap_net import AUHeatmapNet

    devices.set_up()
    devices.seed(0, deterministic=False)
    with devices.computing_in(task.precision):
        backbone = backbones.named(task.backbone)(task.crop_size)
        net = AUHeatmapNet(backbone, NUM_POINTS, (256, 256, 256), graph_levels=())
    net.compile(
        keras.optimizers.AdamW(LEARNING_RATE, weight_decay=0.01),  # torch's default
        loss={"heatmaps": "mean_squared_error"},
        jit_compile=devices.compiled("auto"),
    )
    images, maps = (keras.ops.convert_to_tensor(array) for array in task.batch())

    def step() -> float:
        return float(net.train_on_batch(images, {"heatmaps": maps}))

    facts = {"parameters": sum(math.prod(v.shape) for v in net.trainable_variables)}
    return step, facts | {"flop": 3 * 2 * task.batch_size * _multiplications(net)}


def _multiplications(layer: Any) -> int:
    """Counts the multiplications of all convolutions for one image, forward.

    The gradients of inputs and of weights take as many again each.
    """
    if hasattr(layer, "layers"):
        return sum(_multiplications(inner) for inner in layer.layers)
    kernel = getattr(layer, "kernel", None)
    if kernel is None:
        return 0
    # Each pixel of the smaller side of a transposed convolution meets the whole kernel.
    transposed = "Transpose" in type(layer).__name__
    pixels = (layer.input if transposed else layer.output).shape[1:-1]
    return int(math.prod((*pixels, *kernel.shape)))


def _make(task: dict[str, Any]) -> tuple[Callable[[], float], dict[str, Any]]:
    return (_pytorch if task["engine"] == PYTORCH else _keras)(Task(**task))


if __name__ == "__main__":
    serve(_make)
