"""Compares an exported graph with the network it came from, on crops of people unseen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edge.runtime import AUModel, filled
from export.trained_run import LabelledCrops, TrainedRun
from tfau.core.action_units import INTENSITY_MAX
from tfau.core.agreement import Interval, bootstrap, bootstrap_difference, score
from tfau.core.uncertainty import fit_error_table

if TYPE_CHECKING:
    import keras

MAX_FLOAT_ERROR = 1e-4
"""Largest difference of a map pixel, intensity units, that a float32 graph may show."""

TIES = 0.01
"""Share of the crops that may be further apart all the same: where two channels are equally near to
a third, the last bit decides which of them a channel graph joins to it."""

MAX_TIE_ERROR = 0.05
"""Largest difference of a unit's intensity that such a crop may show."""

PRESENT = 1.0
"""Intensity from which a unit counts as present."""

_CHUNK = 32
_FLOAT32 = ("float32", "onnx", "saved_model")

_Scores = dict[str, dict[str, float]]
"""Metric -> unit, and the mean."""

_Changes = dict[str, dict[str, tuple[float, float, float]]]
"""The same with the ends of an interval."""

Runner = Callable[..., dict[str, npt.NDArray[np.float32]]]
"""What answers `image=(B, S, S, 3)` float32 with named arrays, as `edge.runtime.Graph` does."""


@dataclass(frozen=True)
class Limits:
    """Says what an export may cost.

    Args:
        mean_icc_loss: Most that the mean ICC over the units may fall.
        unit_icc_loss: Most that the ICC of a single unit may fall.
    """

    mean_icc_loss: float = 0.01
    unit_icc_loss: float = 0.03

    def objection(self, icc_loss: dict[str, float]) -> str:
        """Says what is beyond the limits; empty if nothing is.

        Args:
            icc_loss: By unit, and their `mean`.
        """
        # Written so that a mean of NaN is objected to.
        if not icc_loss["mean"] <= self.mean_icc_loss:
            return (
                f"must not lose more than {self.mean_icc_loss:g} of mean ICC. "
                f"Received: {icc_loss['mean']:.3f}"
            )
        units = {unit: loss for unit, loss in icc_loss.items() if math.isfinite(loss)}
        worst = max(units, key=units.__getitem__)
        if units[worst] > self.unit_icc_loss:
            return (
                f"must not lose more than {self.unit_icc_loss:g} of the ICC of any unit. "
                f"Received: {units[worst]:.3f} of {worst}"
            )
        return ""


@dataclass(frozen=True)
class Parity:
    """Says how far a graph is from the network it was made from.

    Args:
        crops: Number of test crops compared.
        people: Number of people on them.
        crops_apart: Number of crops with a map pixel beyond `MAX_FLOAT_ERROR`. A wrong graph is
            apart everywhere; one crop in hundreds is where rounding chose a neighbour.
        max_map_error: Largest difference of a map pixel, intensity units.
        mean_map_error: Mean absolute difference of a map pixel.
        max_intensity_error: Largest difference of a unit's intensity.
        peaks_agree: Share of the bumps that the network draws (1 or higher) whose highest pixel the
            graph has at the same place, give or take a pixel.
        network: Scores of the network: metric -> unit, and their `mean`; NaN where not coded.
        graph: The same of the graph.
        change: What the export has changed of a score, with its interval: metric -> unit.
        expected_error: Mean absolute error of each unit where the graph reads it as 0, 1, ... 5;
            None where not coded.
        ms_per_crop: Median time of the graph on one thread of this machine.
    """

    crops: int
    people: int
    crops_apart: int
    max_map_error: float
    mean_map_error: float
    max_intensity_error: float
    peaks_agree: float
    network: _Scores
    graph: _Scores
    change: _Changes
    expected_error: list[list[float | None]]
    ms_per_crop: float

    @property
    def icc_loss(self) -> dict[str, float]:
        """ICC that the graph has lost, by unit."""
        return {unit: -change for unit, (change, _, _) in self.change["ICC"].items()}

    def objection(self, recipe: str, limits: Limits) -> str:
        """Says in one sentence why the graph must not be used; empty if it may."""
        if recipe in _FLOAT32:
            # Written so that a NaN is objected to.
            tied = self.crops_apart <= TIES * self.crops
            if self.max_map_error <= MAX_FLOAT_ERROR:
                return ""
            if tied and self.max_intensity_error <= MAX_TIE_ERROR:
                return ""
            return (
                f"{recipe} must answer as the network does, within {MAX_FLOAT_ERROR:g}. "
                f"Received: {self.max_map_error:.1e} at the worst pixel, and more than allowed "
                f"in {self.crops_apart} of {self.crops} crops."
            )
        objection = limits.objection(self.icc_loss)
        return objection and f"{recipe} {objection} on {self.crops} test crops."

    def describe(self) -> dict[str, Any]:
        """Returns what `tfau.json` says of it: what depends on the machine stays out."""
        scores: dict[str, Any] = {}
        for metric in self.graph:
            name = metric.lower()
            low, high = (
                {unit: _round(change[end]) for unit, change in self.change[metric].items()}
                for end in (1, 2)
            )
            scores |= {
                f"{name}_network": _rounded(self.network[metric]),
                name: _rounded(self.graph[metric]),
                f"{name}_change_low": low,
                f"{name}_change_high": high,
            }
        return {
            "crops": self.crops,
            "people": self.people,
            "crops_apart": self.crops_apart,
            "max_map_error": _round(self.max_map_error),
            "mean_map_error": _round(self.mean_map_error),
            "max_intensity_error": _round(self.max_intensity_error),
            "peaks_agree": _round(self.peaks_agree),
            **scores,
        }


class Verifier:
    """Compares graphs with a network, on the same crops.

    The graphs run in the runtime of the edge, the network in Keras; one codec reads both.

    Args:
        run: Says how to read the maps.
        model: Its network.
        crops: What to compare on, and the truth.
        batch: Crops that the graphs take at once.
    """

    def __init__(
        self, run: TrainedRun, model: keras.Model, crops: LabelledCrops, batch: int = 1
    ) -> None:
        self._run, self._crops, self._batch = run, crops, batch
        self._maps = _maps(model, crops.images)

    def __call__(self, graph: Runner) -> Parity:
        """Compares one graph.

        Raises:
            ValueError: If the graph remembers something from one crop to the next, or crops in a
                batch disturb each other.
        """
        maps, seconds = self._answers(graph)
        self._check_memory(graph, maps)
        error = np.abs(maps - self._maps)
        estimate = self._read(maps)
        network, scores, change = self._scores(estimate)
        return Parity(
            crops=len(maps),
            people=len(set(self._crops.subjects.tolist())),
            # Written so that a NaN is apart.
            crops_apart=int(np.sum(~(error.max(axis=(1, 2, 3)) <= MAX_FLOAT_ERROR))),
            max_map_error=float(error.max()),
            mean_map_error=float(error.mean()),
            max_intensity_error=float(np.abs(estimate - self._estimate).max()),
            peaks_agree=_peaks_agree(self._maps, maps),
            network=network,
            graph=scores,
            change=change,
            expected_error=[
                [_round(error) for error in row]
                for row in fit_error_table(estimate, self._truth).tolist()
            ],
            ms_per_crop=1e3 * seconds,
        )

    def icc_loss(self, graph: Runner) -> dict[str, float]:
        """Returns the ICC that a graph has lost, by unit, and of their `mean`."""
        before, after = (
            score(self._run.aus, self._truth, estimate)
            for estimate in (self._estimate, self._read(self._answers(graph)[0]))
        )
        return {unit: before[unit]["ICC"] - after[unit]["ICC"] for unit in before}

    def map_error(self, graph: Runner, crops: int) -> float:
        """Returns the mean squared difference of a map pixel on the first so many crops."""
        maps, _ = self._answers(graph, crops)
        return float(np.square(maps - self._maps[: len(maps)]).mean())

    @cached_property
    def _truth(self) -> npt.NDArray[np.float32]:
        return self._run.aus.pool(self._crops.points[..., 2])

    @cached_property
    def _estimate(self) -> npt.NDArray[np.float32]:
        return self._read(self._maps)

    def _answers(
        self, graph: Runner, crops: int | None = None
    ) -> tuple[npt.NDArray[np.float32], float]:
        """Runs a graph on the crops; returns their maps and the median seconds of a crop."""
        answers, times = [], []
        for chunk in _chunks(self._crops.images[:crops], self._batch):
            image = filled(chunk, self._batch)
            started = time.perf_counter()
            answers.append(graph(image=image)["heatmaps"][: len(chunk)])
            times.append((time.perf_counter() - started) / self._batch)
        return np.concatenate(answers), float(np.median(times))

    def _check_memory(self, graph: Runner, maps: npt.NDArray[np.float32]) -> None:
        """Asks again, the batch turned round, when the graph has just seen another crop."""
        few = min(self._batch, len(maps))
        rows = np.resize(np.arange(few)[::-1], self._batch)
        again = graph(image=self._crops.images[rows].astype(np.float32))["heatmaps"]
        expected = maps[rows]
        if self._batch == 1 and not np.array_equal(again, expected):
            raise ValueError("The graph answers the same crop differently the second time.")
        # In a batch, kernels for another number of rows may round differently.
        if not np.allclose(again, expected, rtol=0, atol=MAX_FLOAT_ERROR):
            raise ValueError("The graph answers a crop differently beside others.")

    def _scores(self, estimate: npt.NDArray[np.float32]) -> tuple[_Scores, _Scores, _Changes]:
        """Scores network and graph, and the change, with intervals."""
        truth, subject = self._truth, self._crops.subjects
        presence = np.where(np.isnan(truth), np.nan, truth >= PRESENT)
        network: _Scores = {}
        graph: _Scores = {}
        changes: _Changes = {}
        for real, metrics in ((truth, ("ICC", "MAE")), (presence, ("F1",))):
            for scores, values in ((network, self._estimate), (graph, estimate)):
                found = bootstrap(real, values, subject, metrics, threshold=PRESENT, resamples=1)
                scores |= {metric: self._by_unit(found[metric].value) for metric in metrics}
            gaps = bootstrap_difference(
                real, self._estimate, estimate, subject, metrics, threshold=PRESENT
            )
            changes |= {metric: self._with_ends(gaps[metric]) for metric in metrics}
        return network, graph, changes

    def _by_unit(self, values: npt.NDArray[np.float64]) -> dict[str, float]:
        return dict(zip((*self._run.aus.names, "mean"), values.tolist(), strict=True))

    def _with_ends(self, interval: Interval) -> dict[str, tuple[float, float, float]]:
        ends = (self._by_unit(side) for side in (interval.value, interval.low, interval.high))
        value, low, high = ends
        return {unit: (value[unit], low[unit], high[unit]) for unit in value}

    def _read(self, maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return _read(self._run, maps)


def read_intensities(
    run: TrainedRun, model: keras.Model, crops: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    """Reads (N, S, S, 3) crops to (N, A) intensities with the network of a run."""
    return _read(run, _maps(model, crops))


def check_file(path: Path, graph: Runner, crops: LabelledCrops, batch: int) -> None:
    """Checks that a written file answers as the graph that went into it, however crops lie.

    Args:
        path: The `.tflite`.
        graph: What went into it.
        crops: Some crops to ask with.
        batch: Crops that the graph takes at once.

    Raises:
        ValueError: If it does not.
    """
    images = crops.images[:batch]
    expected = graph(image=filled(images, batch))["heatmaps"][: len(images)]
    turned = np.ascontiguousarray(images.swapaxes(1, 2)).swapaxes(1, 2)  # columns first in memory
    model = AUModel(path)
    for one in (images, turned):
        if not np.array_equal(model(one)["heatmaps"], expected):
            raise ValueError(f"{path.name.lstrip('.')} does not answer as the graph in it.")


def _maps(model: keras.Model, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return np.concatenate(
        [
            np.asarray(model(chunk.astype(np.float32), training=False)["heatmaps"])
            for chunk in _chunks(crops, _CHUNK)
        ]
    )


def _read(run: TrainedRun, maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Reads (N, H, W, P) maps to (N, A) intensities."""
    chunks = (run.aus.pool(run.codec.decode(chunk)[..., 2]) for chunk in _chunks(maps, _CHUNK))
    return np.asarray(np.concatenate([chunk.clip(0.0, INTENSITY_MAX) for chunk in chunks]))


def _peaks_agree(before: npt.NDArray[np.float32], after: npt.NDArray[np.float32]) -> float:
    """Compares where (N, H, W, P) maps are highest; NaN where the first draw nothing."""
    count, height, width, points = before.shape
    flat = (maps.reshape(count, height * width, points) for maps in (before, after))
    one, other = (np.stack(np.divmod(maps.argmax(axis=1), width)) for maps in flat)
    near = (np.abs(one - other) <= 1).all(axis=0)
    drawn = before.max(axis=(1, 2)) >= PRESENT
    return float(near[drawn].mean()) if drawn.any() else math.nan


def _chunks(array: npt.NDArray[Any], size: int) -> list[npt.NDArray[Any]]:
    return [array[start : start + size] for start in range(0, len(array), size)]


def _rounded(values: dict[str, float]) -> dict[str, float | None]:
    return {unit: _round(value) for unit, value in values.items()}


def _round(value: float) -> float | None:
    """Keeps what is worth reading; JSON has no NaN."""
    return float(f"{value:.4g}") if math.isfinite(value) else None
