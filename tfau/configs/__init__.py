"""Experiments as data: one readable file each, found by its name."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
from dataclasses import dataclass
from pathlib import Path

from tfau.core.action_units import AUSet
from tfau.core.align import FaceAligner
from tfau.core.names import check_name


@dataclass(frozen=True)
class TrainConfig:
    """Says everything that decides a training run.

    Args:
        name: Name of the run; its folder is `runs/NAME`.
        dataset: Prepared data set, `NAME/CONFIG`; several mixed: `bp4d/intensity+disfa/intensity`.
        aus: FACS numbers of the units to learn, in output order.
        crop_size: Side S of the crops, px; those of the data set are scaled to it.
        backbone: A row of `tfau.models.backbones.BACKBONES`.
        weights: Weights of the backbone: None, or what the backbone's function takes.
        decoder_filters: Channels of the three decoder levels.
        neighbors: Edges per node of the channel graph.
        sigma: Width of a heatmap bump, map px (4 crop px).
        intensity_weight: Weight of the read intensity in the loss.
        epochs: Passes over the training split.
        batch_size: Crops to a step.
        learning_rate: Highest rate; warms up over one epoch, then falls to 0 as a cosine.
        weight_decay: Of AdamW, per step times the rate.
        seed: Decides the initial weights, the order, the augmentation, and who is in which part
            where no list says so.
        protocol: How people are divided into folds, a row of `tfau.protocols.PROTOCOLS`.
        fold: Which fold is tested, from 1.
        validation: Share of the training people who choose the epoch, where no list says so. With
            0 the last epoch is taken.
        balance: Repeat-factor sampling: crops with units rarer than this share are repeated; 0 =
            off.
        network: A row of `tfau.models.networks.NETWORKS`.
        graph_levels: Decoder levels of a heatmap network, 1 to 3, that have a channel graph.
        node_layout: What a node of the graph is: `channels`, or `released` as in the published
            code.
        graph_rank: Rank of the graphs' kernels; None = full.
        presence_head: A row of `tfau.models.presence_net.HEADS`.
        freeze_backbone: Leave the backbone of a presence network as its weights say.
    """

    name: str
    dataset: str
    aus: tuple[int, ...]
    crop_size: int = 256
    backbone: str = "resnet_v1_50"
    weights: str | None = None
    decoder_filters: tuple[int, int, int] = (256, 128, 64)
    neighbors: int = 5
    sigma: float = 2.0
    intensity_weight: float = 1.0
    epochs: int = 20
    batch_size: int = 16
    learning_rate: float = 5e-4
    weight_decay: float = 1e-4
    seed: int = 0
    protocol: str = "as_prepared"
    fold: int = 1
    validation: float = 0.15
    balance: float = 0.0
    network: str = "heatmap"
    graph_levels: tuple[int, ...] = (1, 2, 3)
    node_layout: str = "channels"
    graph_rank: int | None = None
    presence_head: str = "resnet"
    freeze_backbone: bool = False

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets that are mixed."""
        return tuple(name.strip() for name in self.dataset.split("+"))

    def check(self) -> None:
        """Checks what can be checked without looking at data; ValueError if something is off."""
        AUSet(self.aus)
        FaceAligner(self.crop_size)
        for field in ("epochs", "batch_size", "fold"):
            if getattr(self, field) < 1:
                raise ValueError(f"`{field}` must be at least 1. Received: {getattr(self, field)}.")
        for field in ("validation", "balance"):
            if not 0 <= getattr(self, field) < 1:
                raise ValueError(f"`{field}` must lie in [0, 1). Received: {getattr(self, field)}.")
        if not set(self.graph_levels) <= {1, 2, 3}:
            raise ValueError(f"`graph_levels` must lie in 1 to 3. Received: {self.graph_levels}.")
        if self.graph_rank is not None and self.graph_rank < 1:
            raise ValueError(f"`graph_rank` must be at least 1. Received: {self.graph_rank}.")
        if len(set(self.datasets)) < len(self.datasets):
            raise ValueError(f"`dataset` must not name one set twice. Received: {self.dataset}.")

    def to_json(self) -> str:
        """Returns the text of `config.json`."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def read(cls, path: Path) -> TrainConfig:
        """Reads a `config.json`; what an earlier version did not know takes its default.

        Raises:
            ValueError: If it is not such a file.
        """
        try:
            values = json.loads(path.read_text())
            for field in {"aus", "decoder_filters", "graph_levels"} & set(values):
                values[field] = tuple(values[field])
            config = cls(**values)
            config.check()
            return config
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not the config of a run: {error}.") from None


def names() -> list[str]:
    """Lists the experiments."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> TrainConfig:
    """Returns an experiment by name; ValueError if there is none."""
    check_name("config", name, names())
    config: TrainConfig = importlib.import_module(f"{__name__}.{name}").CONFIG
    return config
