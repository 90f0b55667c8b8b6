"""Leaves in float32 the few layers that a recipe cannot do without."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edge.runtime import Graph
from export.quantize import Quantizer
from export.verify import Limits, Verifier

_BLAME_CROPS = 48
_REPORT = 10  # layers from one line of progress to the next
_ROUNDS = 15


@dataclass(frozen=True)
class Kept:
    """Says what a layer costs that stays in float32.

    Args:
        layer: Its name.
        blame: Mean squared error of the maps where this layer alone is quantised, intensity units.
        extra_bytes: By how much the file is larger than with this layer quantised too.
        extra_ms: By how much a crop takes longer, on one thread of this machine.
    """

    layer: str
    blame: float
    extra_bytes: int
    extra_ms: float


def quantize_selectively(
    quantizer: Quantizer,
    recipe: str,
    held: Verifier,
    limits: Limits,
    log: Callable[[str], None],
) -> tuple[bytes, list[Kept]]:
    """Quantises a graph, and where that loses too much, all but the layers to blame.

    Each layer is quantised alone, to see what it does to the maps. Of the layers in this order as
    few as suffice stay in float32, up to half of them; their number is found by doubling, then by
    halving the gap.

    Args:
        quantizer: Makes the graphs.
        recipe: A row of `export.quantize.RECIPES`.
        held: Compares them with the network, on crops that chose nothing else but the epoch.
        limits: What may be lost on these.
        log: Told, in a line, what is being done.

    Returns:
        The graph, and what it keeps, the most to blame first. Where half of the layers do not
        suffice, that is the fully quantised graph and nothing.
    """

    def objection(keep: Sequence[str]) -> str:
        return limits.objection(held.icc_loss(Graph(quantizer(recipe, keep))))

    whole = quantizer(recipe)
    if recipe == "float32":
        return whole, []
    why = limits.objection(held.icc_loss(Graph(whole)))
    if not why:
        return whole, []
    layers = list(quantizer.layers)
    log(f"{recipe} {why} on held-out crops; looking which of {len(layers)} layers are to blame")
    blame = {}
    for number, layer in enumerate(layers, start=1):
        if number % _REPORT == 0:
            log(f"{recipe}: {number} of {len(layers)}")
        others = [other for other in layers if other != layer]
        blame[layer] = held.map_error(Graph(quantizer(recipe, others)), _BLAME_CROPS)
    order = sorted(layers, key=blame.__getitem__, reverse=True)

    low, high = 0, 1  # low layers do not suffice
    while objection(order[:high]):
        low, high = high, 2 * high
        if high > len(layers) // 2:
            log(f"{recipe} would need more than half of the layers in float32")
            return whole, []
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if objection(order[:middle]) else (low, middle)
    kept = order[:high]
    graph = quantizer(recipe, kept)
    costs = []
    for layer in kept:
        without = quantizer(recipe, [other for other in kept if other != layer])
        extra = _milliseconds(graph, without)
        costs.append(Kept(layer, blame[layer], len(graph) - len(without), extra))
    log(f"{recipe} keeps {', '.join(kept)} in float32")
    return graph, costs


def _milliseconds(graph: bytes, other: bytes) -> float:
    """Measures by how much one graph takes longer than another, in turns."""
    runners = [Graph(graph), Graph(other)]
    image = np.zeros(runners[0].inputs["image"], np.float32)
    times: list[list[float]] = [[], []]
    for _ in range(_ROUNDS):
        for runner, seconds in zip(runners, times, strict=True):
            started = time.perf_counter()
            runner(image=image)
            seconds.append(time.perf_counter() - started)
    return 1e3 * (statistics.median(times[0]) - statistics.median(times[1]))
