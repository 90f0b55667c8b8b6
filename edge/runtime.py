"""Runs TFLite graphs on whichever interpreter is installed, and the action unit model on top."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tfau.core import BundleError, EdgeBundle, MissingExtra
from tfau.core.faces import MESH_VERTICES
from tfau.core.quiet import quiet_natives

# Smallest first: LiteRT has wheels for every 64-bit board, tflite-runtime is the last that runs on
# 32-bit ones, and TensorFlow is used only where it happens to be installed already.
_RUNTIMES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite")


def find_runtime() -> tuple[str, Any]:
    """Finds the first interpreter that can be imported.

    Returns:
        Name of its top-level package, and its `Interpreter` class.

    Raises:
        MissingExtra: If there is none.
    """
    for module in _RUNTIMES:
        try:
            if module == "tensorflow.lite":
                interpreter = importlib.import_module("tensorflow").lite.Interpreter
            else:
                interpreter = importlib.import_module(module).Interpreter
        except ImportError:
            continue
        return module.partition(".")[0], interpreter
    raise MissingExtra(
        "No TFLite interpreter is installed; `pip install ai-edge-litert` brings one."
    )


class Graph:
    """Runs one TFLite graph with named inputs and outputs.

    The names are those of the graph's signature; a graph without one goes by its tensor names. A
    graph must not be run by two threads at once.

    Args:
        content: The flatbuffer.
        threads: Threads to run it with. More than the machine has cores slows it down.
        name: What error messages call it.

    Raises:
        BundleError: If the runtime cannot load the graph.
        MissingExtra: If no runtime is installed.
    """

    def __init__(self, content: bytes, *, threads: int = 1, name: str = "the graph") -> None:
        _, interpreter = find_runtime()
        try:
            with quiet_natives():
                self._interpreter = interpreter(model_content=content, num_threads=threads)
                self._interpreter.allocate_tensors()
                signatures = self._interpreter.get_signature_list()
                self._runner = self._interpreter.get_signature_runner() if signatures else None
        except (ValueError, RuntimeError) as error:
            reason = (str(error).strip().splitlines() or ["no reason given"])[0]
            raise BundleError(f"{name} cannot be run by this TFLite runtime: {reason}") from None
        if self._runner:
            self._inputs: dict[str, Any] = self._runner.get_input_details()
            self._outputs: dict[str, Any] = self._runner.get_output_details()
        else:
            details = self._interpreter.get_input_details(), self._interpreter.get_output_details()
            self._inputs, self._outputs = ({d["name"]: d for d in side} for side in details)

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Shape of every input."""
        return {name: tuple(detail["shape"].tolist()) for name, detail in self._inputs.items()}

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Shape of every output."""
        return {name: tuple(detail["shape"].tolist()) for name, detail in self._outputs.items()}

    def __call__(self, **inputs: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        """Runs the graph once.

        Args:
            **inputs: One float32 array of the declared shape for each input.

        Returns:
            A float32 array for each output.
        """
        if self._runner:
            return self._runner(**inputs)  # type: ignore[no-any-return]
        for name, values in inputs.items():
            self._interpreter.set_tensor(self._inputs[name]["index"], values)
        self._interpreter.invoke()
        return {name: self._interpreter.get_tensor(d["index"]) for name, d in self._outputs.items()}


class AUModel:
    """Answers face crops with heatmaps, or with intensities.

    Args:
        path: A `.tflite` made by `python -m export`.
        threads: Threads to run it with.

    Raises:
        BundleError: If the file is missing, damaged or no model of ours.

    Attributes:
        bundle: What the file says about itself: units, crop, decoder, threshold, provenance.
    """

    def __init__(self, path: str | os.PathLike[str], *, threads: int = 1) -> None:
        self.bundle, content = EdgeBundle.open(path)
        self._graph = Graph(content, threads=threads, name=os.fspath(path))
        expected, found = self.bundle.ends, (self._graph.inputs, self._graph.outputs)
        if found != expected:
            raise BundleError(
                f"{os.fspath(path)} does not hold the graph that its tfau.json describes: "
                f"{_shapes(expected)} announced, {_shapes(found)} found."
            )

    def __call__(
        self,
        crops: npt.NDArray[np.uint8],
        meshes: npt.NDArray[np.float32] | None = None,
        neutrals: npt.NDArray[np.float32] | None = None,
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Runs the model on any number of crops, as many at once as its graph takes.

        Most graphs take one, so that a crop's answer never depends on its neighbours. For one that
        takes more, the last crops are repeated until there are enough.

        Args:
            crops: (B, S, S, 3) uint8 RGB, S = `bundle.crop_size`.
            meshes: (B, 468, 3) float32, see `FaceAligner.aligned_mesh`; for a pair network.
            neutrals: (B, D) float32, features of each person at rest, zeros where they are not
                known; for a pair network. None = all unknown.

        Returns:
            Of a heatmap network `{"heatmaps": (B, S / stride, S / stride, P) float32}`, in
            intensity units; of a pair network `{"intensity": (B, P), "error": (B, P), "features":
            (B, D)}`.

        Raises:
            ValueError: If the crops or the meshes have another shape or type.
        """
        size, batch, count = self.bundle.crop_size, self.bundle.batch, len(crops)
        if crops.dtype != np.uint8 or crops.shape[1:] != (size, size, 3) or not count:
            raise ValueError(
                f"`crops` must be (B, {size}, {size}, 3) uint8 with B at least 1. "
                f"Received: crops.shape={crops.shape}, crops.dtype={crops.dtype}"
            )
        inputs: dict[str, npt.NDArray[Any]] = {"image": crops}
        if self.bundle.features:
            if meshes is None or meshes.shape != (count, MESH_VERTICES, 3):
                raise ValueError(
                    f"`meshes` must be ({count}, {MESH_VERTICES}, 3), as many as crops. "
                    f"Received: {None if meshes is None else meshes.shape}."
                )
            if neutrals is None:
                neutrals = np.zeros((count, self.bundle.features), np.float32)
            inputs |= {"mesh": meshes, "neutral": neutrals}
        answers = [
            self._graph(**{k: filled(v[start : start + batch], batch) for k, v in inputs.items()})
            for start in range(0, count, batch)
        ]
        return {name: np.concatenate([a[name] for a in answers])[:count] for name in answers[0]}

    def self_test(self) -> float:
        """Answers the golden crop of the file, twice.

        Returns:
            The largest difference from the golden answer, intensity units; NaN where the file has
            no golden pair.

        Raises:
            BundleError: If the second answer is not the first, bit for bit.
        """
        golden = self.bundle.golden
        if golden is None:
            return math.nan
        mesh = None if golden.mesh is None else golden.mesh[None]
        first, second = (self(golden.image[None], mesh) for _ in range(2))
        if any(not np.array_equal(first[name], second[name]) for name in first):
            raise BundleError("The graph answers the same crop differently the second time.")
        if self.bundle.features:
            return float(np.abs(first["intensity"] - golden.answer[0]).max())
        seen = first["heatmaps"][0][:: golden.every, :: golden.every]
        return float(np.abs(seen - golden.answer).max())


def filled(crops: npt.NDArray[Any], batch: int) -> npt.NDArray[np.float32]:
    """Makes what a graph takes of (n, ...) values: repeats them until there are `batch`."""
    return np.resize(crops, (batch, *crops.shape[1:])).astype(np.float32)


def _shapes(sides: Iterable[Mapping[str, tuple[int, ...]]]) -> str:
    return " -> ".join(", ".join(f"{k} {v}" for k, v in side.items()) for side in sides)
