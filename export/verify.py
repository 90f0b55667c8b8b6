"""Compares an exported graph with the network it came from, on crops of the test split."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edge.runtime import Graph
from export.trained_run import TrainedRun
from tfau.core.action_units import INTENSITY_MAX
from tfau.core.agreement import score
from tfau.core.uncertainty import fit_error_table

if TYPE_CHECKING:
    import keras

MAX_FLOAT_ERROR = 1e-4
"""Largest difference of a map pixel, intensity units, that a float32 graph may show."""

_CHUNK = 32


@dataclass(frozen=True)
class Parity:
    """Says how far a graph is from the network it was made from.

    Args:
        crops: Number of test crops compared.
        crops_apart: Number of those with a map pixel beyond `MAX_FLOAT_ERROR`. A wrong graph is
            apart everywhere; one crop in hundreds is where rounding chose a neighbour.
        max_map_error: Largest difference of a map pixel, intensity units.
        mean_map_error: Mean absolute difference of a map pixel.
        max_intensity_error: Largest difference of a unit's intensity.
        icc_network: ICC(3,1) of the network by unit, and their `mean`; NaN where not coded.
        icc: The same of the graph.
        expected_error: Mean absolute error of each unit where the graph reads it as 0, 1, ... 5;
            None where not coded.
        ms_per_crop: Median time of the graph on one thread of this machine.
    """

    crops: int
    crops_apart: int
    max_map_error: float
    mean_map_error: float
    max_intensity_error: float
    icc_network: dict[str, float]
    icc: dict[str, float]
    expected_error: list[list[float | None]]
    ms_per_crop: float

    @property
    def icc_loss(self) -> dict[str, float]:
        """ICC that the graph has lost, by unit."""
        return {unit: self.icc_network[unit] - icc for unit, icc in self.icc.items()}

    def objection(self, recipe: str, max_icc_loss: float) -> str:
        """Says in one sentence why the graph must not be used; empty if it may."""
        if recipe == "float32":
            # Written so that a NaN is objected to.
            if self.max_map_error <= MAX_FLOAT_ERROR:
                return ""
            return (
                f"float32 must answer as the network does, within {MAX_FLOAT_ERROR:g}. "
                f"Received: {self.max_map_error:.1e} at the worst pixel, and more than allowed "
                f"in {self.crops_apart} of {self.crops} crops."
            )
        if self.icc_loss["mean"] <= max_icc_loss:
            return ""
        return (
            f"{recipe} must not lose more than {max_icc_loss:g} of mean ICC. "
            f"Received: {self.icc_loss['mean']:.3f} on {self.crops} crops."
        )

    def describe(self) -> dict[str, Any]:
        """Returns what `tfau.json` says of it: what depends on the machine stays out."""
        return {
            "crops": self.crops,
            "crops_apart": self.crops_apart,
            "max_map_error": _round(self.max_map_error),
            "mean_map_error": _round(self.mean_map_error),
            "max_intensity_error": _round(self.max_intensity_error),
            "icc_network": {unit: _round(value) for unit, value in self.icc_network.items()},
            "icc": {unit: _round(value) for unit, value in self.icc.items()},
        }


class Verifier:
    """Compares graphs with a network.

    The graphs run in the runtime of the edge, one crop at a time; the network runs in batches. Both
    are read by the same codec.

    Args:
        run: Gives the test crops and the truth.
        model: Its network.
    """

    def __init__(self, run: TrainedRun, model: keras.Model) -> None:
        self._run = run
        self._maps = np.concatenate(
            [
                np.asarray(model(crops.astype(np.float32), training=False)["heatmaps"])
                for crops in self._chunks(run.crops)
            ]
        )

    def __call__(self, graph: bytes) -> Parity:
        """Compares one graph.

        Raises:
            ValueError: If the graph remembers something from one crop to the next.
        """
        runtime = Graph(graph)
        answers, times = [], []
        for crop in self._run.crops:
            image = crop[None].astype(np.float32)
            started = time.perf_counter()
            answers.append(runtime(image=image)["heatmaps"])
            times.append(time.perf_counter() - started)
        maps = np.concatenate(answers)
        again = runtime(image=self._run.crops[:1].astype(np.float32))["heatmaps"]
        if not np.array_equal(again, maps[:1]):
            raise ValueError("The graph answers the same crop differently the second time.")

        error = np.abs(maps - self._maps)
        network, estimate = self._estimate, self._read(maps)
        return Parity(
            crops=len(maps),
            # Written so that a NaN is apart.
            crops_apart=int(np.sum(~(error.max(axis=(1, 2, 3)) <= MAX_FLOAT_ERROR))),
            max_map_error=float(error.max()),
            mean_map_error=float(error.mean()),
            max_intensity_error=float(np.abs(estimate - network).max()),
            icc_network=self._icc(network),
            icc=self._icc(estimate),
            expected_error=[
                [_round(error) for error in row]
                for row in fit_error_table(estimate, self._truth).tolist()
            ],
            ms_per_crop=1e3 * float(np.median(times)),
        )

    @cached_property
    def _truth(self) -> npt.NDArray[np.float32]:
        return self._run.aus.pool(self._run.points[..., 2])

    @cached_property
    def _estimate(self) -> npt.NDArray[np.float32]:
        return self._read(self._maps)

    def _read(self, maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Reads (N, H, W, P) maps to (N, A) intensities."""
        decode, pool = self._run.codec.decode, self._run.aus.pool
        intensities = [pool(decode(chunk)[..., 2]) for chunk in self._chunks(maps)]
        return np.asarray(np.clip(np.concatenate(intensities), 0.0, INTENSITY_MAX))

    def _icc(self, estimate: npt.NDArray[np.float32]) -> dict[str, float]:
        rows = score(self._run.aus, self._truth, estimate)
        return {unit: row["ICC"] for unit, row in rows.items()}

    @staticmethod
    def _chunks(array: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        return [array[start : start + _CHUNK] for start in range(0, len(array), _CHUNK)]


def _round(value: float) -> float | None:
    """Keeps what is worth reading; JSON has no NaN."""
    return float(f"{value:.4g}") if math.isfinite(value) else None
