"""The networks by name: how each is made, and what it learns from.

Adding a network is adding a row to `NETWORKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import keras
import numpy as np
import numpy.typing as npt

from tfau.core.action_units import AUSet
from tfau.core.names import check_name
from tfau.models import presence_net
from tfau.models.attention_net import AUAttentionNet
from tfau.models.channel_graph import NODE_LAYOUTS
from tfau.models.emotion_net import AUEmotionNet
from tfau.models.heatmap_net import AUHeatmapNet
from tfau.models.keyframes import KeyframeLoss, TrendLoss
from tfau.models.losses import EmotionLoss, HeatmapLoss, IntensityLoss, LevelsLoss, PresenceLoss

Weights = npt.NDArray[np.floating[Any]] | None


class Options(Protocol):
    """What a row of `NETWORKS` may ask for; a `TrainConfig` has it all."""

    @property
    def name(self) -> str:
        """Name of the run."""

    @property
    def crop_size(self) -> int:
        """Side S of the crops, px."""

    @property
    def decoder_filters(self) -> tuple[int, int, int]:
        """Channels of the decoder levels."""

    @property
    def neighbors(self) -> int:
        """Edges per node of the channel graphs."""

    @property
    def graph_levels(self) -> tuple[int, ...]:
        """Decoder levels that have a graph."""

    @property
    def node_layout(self) -> str:
        """What a node is."""

    @property
    def graph_rank(self) -> int | None:
        """Rank of the graphs' kernels."""

    @property
    def sigma(self) -> float:
        """Width of a heatmap bump, map px."""

    @property
    def intensity_weight(self) -> float:
        """Weight of the read intensity in the loss of maps."""

    @property
    def presence_head(self) -> str:
        """A row of `presence_net.HEADS`."""

    @property
    def network(self) -> str:
        """A row of `NETWORKS`."""

    @property
    def segment(self) -> int:
        """Frames from one keyframe to the next that are learnt from; 0 = every label counts."""

    @property
    def freeze_backbone(self) -> bool:
        """Whether the backbone of a presence network stays as it is."""


@dataclass(frozen=True)
class Network:
    """Says what one needs to know of a network to train it.

    Args:
        estimates: By what it is judged, intensity or presence.
        learns: The outputs that are trained, each with the label that it is compared with:
            `points`, `presence`, `emotion`, or `segments`.
        build: Makes the network on a backbone.
        losses: Makes the loss of each trained output, from units, options, and (A,) how much each
            unit counts (None = all alike).
    """

    estimates: Literal["intensity", "presence"]
    learns: Mapping[str, str]
    build: Callable[[keras.Model, AUSet, Options], keras.Model]
    losses: Callable[[AUSet, Options, Weights], dict[str, keras.losses.Loss]]


def check(network: str, options: Options) -> None:
    """Checks the names in options without building anything.

    Raises:
        ValueError: If one is unknown; the sentence says which are near it.
    """
    check_name("network", network, NETWORKS)
    check_name("node layout", options.node_layout, NODE_LAYOUTS)
    check_name("presence head", options.presence_head, presence_net.HEADS)
    if options.segment and (network != "attention" or options.segment < 3):
        raise ValueError(
            "`segment` must be 0, or 3 or more frames with the network 'attention'. "
            f"Received: {options.segment} with {network!r}."
        )


def row(options: Options) -> Network:
    """Returns what there is to know of the network that options ask for."""
    return _KEYFRAMES if options.segment else NETWORKS[options.network]


def _heatmap(backbone: keras.Model, aus: AUSet, options: Options) -> keras.Model:
    return AUHeatmapNet(
        backbone,
        len(aus.point_names),
        decoder_filters=options.decoder_filters,
        neighbors=options.neighbors,
        graph_levels=options.graph_levels,
        node_layout=options.node_layout,
        graph_rank=options.graph_rank,
        name=options.name,
    )


def _heatmap_losses(aus: AUSet, options: Options, weights: Weights) -> dict[str, keras.losses.Loss]:
    loss = HeatmapLoss(
        options.crop_size,
        sigma=options.sigma,
        intensity_weight=options.intensity_weight,
        weights=None if weights is None else weights[aus.point_owner],
    )
    return {"heatmaps": loss}


def _presence(backbone: keras.Model, aus: AUSet, options: Options) -> keras.Model:
    return presence_net.AUPresenceNet(
        backbone,
        len(aus),
        head=options.presence_head,
        freeze_backbone=options.freeze_backbone,
        name=options.name,
    )


NETWORKS: dict[str, Network] = {
    "heatmap": Network("intensity", {"heatmaps": "points"}, _heatmap, _heatmap_losses),
    "attention": Network(
        "intensity",
        {"intensity": "points"},
        lambda backbone, aus, options: AUAttentionNet(backbone, len(aus), name=options.name),
        lambda aus, _options, weights: {
            "intensity": IntensityLoss(aus.point_owner, weights=weights)
        },
    ),
    "attention_ordinal": Network(
        "intensity",
        {"levels": "points"},
        lambda backbone, aus, options: AUAttentionNet(
            backbone, len(aus), head="ordinal", name=options.name
        ),
        lambda aus, _options, weights: {"levels": LevelsLoss(aus.point_owner, weights=weights)},
    ),
    "presence": Network(
        "presence",
        {"presence": "presence"},
        _presence,
        lambda _aus, _options, weights: {"presence": PresenceLoss(weights=weights)},
    ),
    "emotion": Network(
        "presence",
        {"emotion": "emotion", "presence": "presence"},
        lambda backbone, aus, options: AUEmotionNet(backbone, len(aus), name=options.name),
        lambda _aus, _options, weights: {
            "emotion": EmotionLoss(),
            "presence": PresenceLoss(weights=weights),
        },
    ),
}

# The attention network where only keyframes are known.
_KEYFRAMES = Network(
    "intensity",
    {"intensity": "segments", "features": "segments"},
    lambda backbone, aus, options: AUAttentionNet(
        backbone, len(aus), features=True, name=options.name
    ),
    lambda _aus, options, weights: {
        "intensity": KeyframeLoss(options.segment, weights=weights),
        "features": TrendLoss(options.segment),
    },
)
