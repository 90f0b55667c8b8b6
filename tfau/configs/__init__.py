"""Experiments as data: readable files, a published recipe and ours side by side, found by name."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import pkgutil
from dataclasses import dataclass
from pathlib import Path

from tfau.core.action_units import AUSet
from tfau.core.align import FaceAligner
from tfau.core.names import check_name

_ARCHITECTURE = (
    *("aus", "crop_size", "network", "backbone", "decoder_filters", "neighbors", "graph_levels"),
    *("node_layout", "graph_rank", "presence_head"),
)
_PEOPLE = ("protocol", "fold", "validation", "seed")


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
        batch_size: Crops to a batch; segments, where those are learnt from.
        learning_rate: Highest rate.
        weight_decay: Decoupled from the gradient, per step times the rate.
        optimizer: A row of `tfau.models.optimizers.OPTIMIZERS`: adamw, adam or sgd.
        momentum: Of sgd.
        nesterov: Whether the momentum of sgd looks ahead.
        schedule: How the rate falls: `cosine` to 0, `step`, or `constant`.
        warmup: Epochs in which the rate rises from 0 to its highest.
        step_epochs: After which epochs a step schedule multiplies the rate ...
        step_factor: ... by this.
        clipnorm: Longest gradient of a weight; 0 = any length.
        ema: Momentum of the running average of the weights, which is what is scored and kept; 0 =
            the weights themselves.
        accumulate: Batches whose gradients are added up to one step.
        precision: What the network computes in: float32, bfloat16 or float16. Its answers and the
            loss are float32 always, and so are its weights.
        jit: Whether XLA compiles the step: on, off, or auto = on a GPU only.
        deterministic: Forbid operations that may round differently from run to run.
        unit_balance: Weighs units in the loss by their share of active examples to the power of
            minus this: 0 = all alike, 1 = inverse.
        patience: Stop after so many epochs without a better one; 0 = never.
        augment: Change the crops as cameras and heads do.
        overfit: Learn, choose and test on these few crops; 0 = off.
        segment: Frames, from one keyframe to the next, of the segments that an attention network
            learns from, all labels between being left out; 0 = every label counts.
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
        finetune: Folder of the run whose network is trained further; empty = none. What is not said
            is as in that run, see `finetuned`.
        quantize: Round in training as this export recipe will, a row of
            `tfau.models.quantization.RECIPES`; empty = do not round.
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
    optimizer: str = "adamw"
    momentum: float = 0.9
    nesterov: bool = False
    schedule: str = "cosine"
    warmup: float = 1.0
    step_epochs: tuple[int, ...] = ()
    step_factor: float = 0.1
    clipnorm: float = 1.0
    ema: float = 0.0
    accumulate: int = 1
    precision: str = "float32"
    jit: str = "auto"
    deterministic: bool = False
    unit_balance: float = 0.0
    patience: int = 0
    augment: bool = True
    overfit: int = 0
    segment: int = 0
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
    finetune: str = ""
    quantize: str = ""

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
        for field in ("unit_balance", "patience", "overfit", "segment"):
            if getattr(self, field) < 0:
                raise ValueError(f"`{field}` must be at least 0. Received: {getattr(self, field)}.")
        for field in ("validation", "balance"):
            if not 0 <= getattr(self, field) < 1:
                raise ValueError(f"`{field}` must lie in [0, 1). Received: {getattr(self, field)}.")
        if self.quantize and self.network != "heatmap":
            raise ValueError(
                f"`quantize` is for heatmap networks only. Received: `network` {self.network!r}."
            )
        if self.quantize and self.precision != "float32":
            raise ValueError(
                "`quantize` wants `precision` float32: others round more than it does. "
                f"Received: {self.precision!r}."
            )
        if not set(self.graph_levels) <= {1, 2, 3}:
            raise ValueError(f"`graph_levels` must lie in 1 to 3. Received: {self.graph_levels}.")
        if self.graph_rank is not None and self.graph_rank < 1:
            raise ValueError(f"`graph_rank` must be at least 1. Received: {self.graph_rank}.")
        if self.segment and (self.overfit or self.balance):
            raise ValueError("`segment` does not go together with `overfit` or `balance`.")
        if self.freeze_backbone and not self.weights:
            raise ValueError("`freeze_backbone` needs `weights`: a frozen random one sees nothing.")
        if len(set(self.datasets)) < len(self.datasets):
            raise ValueError(f"`dataset` must not name one set twice. Received: {self.dataset}.")

    def check_start(self) -> None:
        """Compares with the run that is trained further, if one is; ValueError if they do not fit.

        Only training needs that run. Whoever scores or exports what came of it does not.
        """
        if not self.finetune:
            return
        start = TrainConfig.read(Path(self.finetune) / "config.json")
        for fields, why in (
            (_ARCHITECTURE, "its network is another"),
            (_PEOPLE if self.dataset == start.dataset else (), "it may have learnt from our tests"),
        ):
            for field in fields:
                mine, its = getattr(self, field), getattr(start, field)
                if mine != its:
                    raise ValueError(
                        f"`{field}` must be as in {self.finetune}, {its!r}: {why} otherwise. "
                        f"Received: {mine!r}."
                    )

    def finetuned(self, folder: Path) -> TrainConfig:
        """Returns how a run is trained further: a quarter of its epochs, at a tenth of its rate.

        Args:
            folder: Of the run that was made with this config.
        """
        return dataclasses.replace(
            self,
            name=f"{self.name}_tuned",
            epochs=-(-self.epochs // 4),
            learning_rate=self.learning_rate / 10,
            warmup=min(self.warmup, 0.5),
            finetune=str(folder),
        )

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
            for field in {"aus", "decoder_filters", "graph_levels", "step_epochs"} & set(values):
                values[field] = tuple(values[field])
            config = cls(**values)
            config.check()
            return config
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not the config of a run: {error}.") from None


@functools.cache
def _known() -> dict[str, TrainConfig]:
    """Finds the experiments: a file holds those of one question, its `CONFIGS`."""
    files = (
        importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)
    )
    return {config.name: config for file in files for config in file.CONFIGS}


def names() -> list[str]:
    """Lists the experiments."""
    return sorted(_known())


def load(name: str) -> TrainConfig:
    """Returns an experiment by name; ValueError if there is none."""
    check_name("config", name, names())
    return _known()[name]
