"""Smaller and faster graphs, by the recipes of ai-edge-quantizer under their own names.

In a name, `wi8` is 8-bit integer weights, `ai8` the same for activations, `afp32` float ones.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

RECIPES = {
    "float32": "as trained",
    "float16": "16-bit weights",
    "dynamic_wi8_afp32": "8-bit weights; its answers depend a little on the processor",
    "static_wi8_ai8": "8-bit weights and activations",
}
"""What `--recipes` takes. Adding a recipe is adding a row."""


def quantize(graph: bytes, recipe: str, crops: npt.NDArray[np.uint8]) -> bytes:
    """Quantises a float32 graph; its ends stay float32.

    Args:
        graph: A TFLite flatbuffer that takes `image`.
        recipe: A row of `RECIPES`; `"float32"` changes nothing.
        crops: (N, S, S, 3) uint8 crops that show the range of every activation, such as the
            highest intensities.

    Returns:
        The flatbuffer.

    References:
        https://github.com/google-ai-edge/ai-edge-quantizer, `recipe.py`. We take the widest range
        seen, where its own `calibrate` takes a running mean of the ranges of single crops: that
        cuts off every bump that is higher than usual, and with it most of the score.
    """
    if recipe == "float32":
        return graph
    from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe_manager
    from ai_edge_quantizer import recipe as recipes

    if recipe == "float16":  # which has no function there
        manager = recipe_manager.RecipeManager()
        every, cast = qtyping.TFLOperationName.ALL_SUPPORTED, "float_casting"
        manager.add_weight_only_config(".*", every, num_bits=16, algorithm_key=cast)
        steps = manager.get_quantization_recipe()
    else:
        steps = getattr(recipes, recipe)()
    work = quantizer.Quantizer(graph, steps)
    for end in ("INPUT", "OUTPUT"):
        work.update_quantization_recipe(regex=".*", operation_name=end, algorithm_key="no_quantize")
    # The quantiser draws progress bars that cannot be turned off, and warns of its own doings.
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ranges = None
        if work.need_calibration:
            calibration = calibrator.Calibrator(
                graph,
                num_threads=os.cpu_count() or 1,
                mode=calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED,
                qsv_update_func=_widest,
            )
            samples = [{"image": crop[None].astype(np.float32)} for crop in crops]
            # In this mode every tensor is watched, whatever the recipe.
            calibration.calibrate({"serving_default": samples}, recipe_manager.RecipeManager())
            ranges = calibration.get_model_qsvs()
        made = work.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return bytes(made.quantized_model)


def _widest(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {
        "min": np.minimum(one["min"], other["min"]),
        "max": np.maximum(one["max"], other["max"]),
    }
