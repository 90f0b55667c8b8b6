"""Do crops come faster than the networks learn from them?"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tfau import configs
from tfau.bench.machine import cores
from tfau.core.action_units import AUSet
from tfau.core.errors import require_extra
from tfau.core.quiet import import_quietly

if TYPE_CHECKING:
    import tensorflow as tf

    from tfau.data.pipeline import PreparedSet

_TINY = configs.load("synthetic_tiny")
NETWORKS = {
    128: _TINY,
    256: configs.TrainConfig("resnet_v1_50", dataset=_TINY.dataset, aus=_TINY.aus),
}
"""The network that is trained on crops of each side, px."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Adds what can be chosen."""
    command.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=list(NETWORKS),
        choices=list(NETWORKS),
        help="sides of the crops, px (default: %(default)s)",
    )
    command.add_argument(
        "--seconds", type=float, default=5.0, help="time to measure each (default: %(default)s)"
    )
    command.add_argument(
        "--at-least", type=float, default=3.0, help="ratio that must hold (default: %(default)s)"
    )
    command.add_argument("--data-dir", help="folder of prepared sets (default: TFDS's own)")


def run(args: argparse.Namespace) -> int:
    """Compares what the pipeline gives with what a training step takes, one after the other."""
    require_extra("train", "tensorflow", "keras", "tensorflow_datasets", "matplotlib", "rich")
    import_quietly("tensorflow")
    import tfds_builders
    from tfau.data.pipeline import PreparedSet

    data = PreparedSet(tfds_builders.prepare(_TINY.dataset, args.data_dir))
    print(f"{data.name} ({data.crop_size} px) on {cores()} cores; crops a second")
    print("   S   pipeline    network  ratio")
    worst = float("inf")
    for size in args.sizes:
        config = NETWORKS[size]
        batches = _batches(data, config)
        given = _rate(_reading(batches), args.seconds, warm_up=20)
        taken = _rate(_training(batches, config), args.seconds, warm_up=2)
        worst = min(worst, given / taken)
        print(f"{size:4} {given:10.1f} {taken:10.1f} {given / taken:6.1f}  {config.name}")
    return int(worst < args.at_least)


def _rate(step: Callable[[], int], seconds: float, warm_up: int) -> float:
    """Returns how many crops a second a step deals with, over that time or one step if longer."""
    for _ in range(warm_up):
        step()
    done, started = 0, time.perf_counter()
    while not done or time.perf_counter() - started < seconds:
        done += step()
    return done / (time.perf_counter() - started)


def _batches(data: PreparedSet, config: configs.TrainConfig) -> tf.data.Dataset:
    """Streams what the network is trained on, of all people."""
    import numpy as np

    from tfau.data.augmentation import Augmentation

    return data.batches(
        np.ones(len(data), bool),
        AUSet(config.aus),
        config.crop_size,
        config.batch_size,
        augmentation=Augmentation(),
        seed=config.seed,
    )


def _reading(batches: tf.data.Dataset) -> Callable[[], int]:
    """Makes the step that reads a batch, epoch after epoch."""
    stream = iter(batches.repeat())
    return lambda: len(next(stream)[0])


def _training(batches: tf.data.Dataset, config: configs.TrainConfig) -> Callable[[], int]:
    """Makes the step that learns from a batch, always the same one."""
    from tfau.engine import Trainer

    model = Trainer(config, AUSet(config.aus), steps=1000).model
    images, labels = next(iter(batches))

    def step() -> int:
        model.train_on_batch(images, {"heatmaps": labels["points"]})
        return len(images)

    return step
