"""Smaller and faster graphs, by the recipes of ai-edge-quantizer under their own names.

In a name, `wi8` is 8-bit integer weights, `ai8` the same for activations, `afp32` float ones.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from edge.runtime import filled
from tfau.core.names import check_name


@dataclass(frozen=True)
class Recipe:
    """Says what one should know before choosing a recipe.

    Args:
        summary: What it does to the graph.
        size: Bytes of the graph, as a share of those of float32.
        calibrated: Whether it looks at crops to find the range of every activation.
        runs: Where, and how like elsewhere.
        tolerance: Most by which a map pixel may differ from machine to machine, intensity units;
            None = one step of the 8-bit output.
    """

    summary: str
    size: float
    calibrated: bool
    runs: str
    tolerance: float | None


RECIPES = {
    "float32": Recipe("as trained", 1.0, False, "anywhere", 1e-4),
    "float16": Recipe("16-bit weights, computes in float32", 0.5, False, "anywhere", 1e-4),
    "weight_only_wi8_afp32": Recipe(
        "8-bit weights, computes in float32", 0.26, False, "anywhere, as slow as float32", 1e-4
    ),
    "dynamic_wi8_afp32": Recipe(
        "8-bit weights, activations rounded as they come",
        0.26,
        False,
        "anywhere but on tflite-runtime; answers depend a little on the processor",
        0.2,
    ),
    "static_wi8_ai8": Recipe(
        "8-bit weights and activations", 0.26, True, "anywhere, alike and fastest", None
    ),
}
"""What `--recipes` takes; the ends of every graph are float32. Adding a recipe is adding a row."""

_WEIGHTED = {
    getattr(schema.BuiltinOperator, name)
    for name in ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
}


def recipe_table() -> str:
    """Lays out the recipes for a terminal, a line each."""
    heads = ("recipe", "size", "calibrated", "what it does; where it runs")
    rows = [
        (name, f"{row.size:.0%}", "yes" if row.calibrated else "no", f"{row.summary}; {row.runs}")
        for name, row in RECIPES.items()
    ]
    return "\n".join(f"  {a:<22} {b:>5}  {c:<10}  {d}" for a, b, c, d in (heads, *rows))


class Quantizer:
    """Quantises a float32 graph in several ways, having looked at the inputs once.

    Args:
        graph: A TFLite flatbuffer.
        shown: For each of its inputs (N, ...) values that show the range of every activation, such
            as the crops of the highest intensities.
        fine: What 8 bits are too coarse for: a pattern of the quantiser's names of operations.

    Attributes:
        layers: The operations that can be left in float32, by layer: one with weights, and those
            without after it.

    References:
        https://github.com/google-ai-edge/ai-edge-quantizer, `recipe.py`. We take the widest range
        seen, where its own `calibrate` takes a running mean of the ranges of single crops: that
        cuts off every bump that is higher than usual, and with it most of the score.
    """

    def __init__(self, graph: bytes, shown: Mapping[str, npt.NDArray[Any]], fine: str = "") -> None:
        self._graph, self._shown, self._fine = graph, shown, fine
        self.layers = _layers(graph)

    def __call__(self, recipe: str, keep: Collection[str] = ()) -> bytes:
        """Makes a graph; its ends stay float32.

        Args:
            recipe: A row of `RECIPES`; `"float32"` changes nothing.
            keep: Names of `layers` that stay in float32.

        Returns:
            The flatbuffer.

        Raises:
            ValueError: If there is no such recipe or layer.
        """
        check_name("recipe", recipe, RECIPES)
        for name in keep:
            check_name("layer", name, self.layers)
        if recipe == "float32":
            return self._graph
        with _quietly():
            from ai_edge_quantizer import quantizer

            work = quantizer.Quantizer(self._graph, _steps(recipe))
            for end in ("INPUT", "OUTPUT"):
                _leave(work, ".*", end)
            if self._fine:
                _leave(work, self._fine, "*")
            for name in keep:
                for scope in self.layers[name]:
                    _leave(work, f"^{re.escape(scope)}$", "*")
            ranges = self._ranges if RECIPES[recipe].calibrated else None
            made = work.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
            return bytes(made.quantized_model)

    @cached_property
    def _ranges(self) -> dict[str, Any]:
        """The lowest and highest value of every tensor."""
        from ai_edge_quantizer import calibrator, recipe_manager

        calibration = calibrator.Calibrator(
            self._graph,
            num_threads=os.cpu_count() or 1,
            mode=calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED,
            qsv_update_func=_widest,
        )
        batch = int(schema.ModelT.InitFromPackedBuf(self._graph).subgraphs[0].tensors[0].shape[0])
        count = min(len(values) for values in self._shown.values())
        shown = [
            {name: filled(v[start : start + batch], batch) for name, v in self._shown.items()}
            for start in range(0, count, batch)
        ]
        # In this mode every tensor is watched, whatever the recipe.
        calibration.calibrate({"serving_default": shown}, recipe_manager.RecipeManager())
        ranges: dict[str, Any] = calibration.get_model_qsvs()
        return ranges


def _steps(recipe: str) -> Any:
    """Returns a recipe as the quantiser wants it."""
    from ai_edge_quantizer import qtyping, recipe_manager
    from ai_edge_quantizer import recipe as recipes

    if recipe != "float16":  # which has no function there
        return getattr(recipes, recipe)()
    manager = recipe_manager.RecipeManager()
    every, cast = qtyping.TFLOperationName.ALL_SUPPORTED, "float_casting"
    manager.add_weight_only_config(".*", every, num_bits=16, algorithm_key=cast)
    return manager.get_quantization_recipe()


def _leave(work: Any, scopes: str, operation: str) -> None:
    work.update_quantization_recipe(
        regex=scopes, operation_name=operation, algorithm_key="no_quantize"
    )


def _widest(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {
        "min": np.minimum(one["min"], other["min"]),
        "max": np.maximum(one["max"], other["max"]),
    }


def _layers(graph: bytes) -> dict[str, list[str]]:
    """Finds the layers of a graph, and the quantiser's names (scopes) of their operations."""
    model = schema.ModelT.InitFromPackedBuf(graph)
    (subgraph,) = model.subgraphs
    layers: dict[str, list[str]] = {}
    name = "image"
    for operator in subgraph.operators:
        names = [subgraph.tensors[i].name.decode() for i in operator.outputs]
        if model.operatorCodes[operator.opcodeIndex].builtinCode in _WEIGHTED:
            name = _short(names[0], taken=layers)
        layers.setdefault(name, []).append(";".join(names) + ";")
    return layers


def _short(tensor: str, taken: Collection[str]) -> str:
    """Makes a layer's name of a tensor's: `net_1/tiny_1/stem_relu_1/Relu6;...` is `stem_relu`."""
    parts = [re.sub(r"_\d+$", "", part) for part in tensor.partition(";")[0].split("/")]
    name = "/".join(parts[1:-1]).removesuffix("/batchnorm") or "heatmaps"
    name = name.rpartition("/")[2] if "graph" not in name else name
    number = sum(one == name or one.startswith(f"{name} ") for one in taken)
    return f"{name} {number + 1}" if number else name


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Hides the progress bars and warnings of the quantiser, which it has no switch for."""
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
