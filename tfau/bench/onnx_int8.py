"""ONNX Runtime's own 8-bit quantisation, at its best on this machine: what ours is set against."""

from __future__ import annotations

import contextlib
import itertools
import logging
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfau.bench.model_contender import natural_crops

_CROPS = 16
_RUNS = 7


def quantize_fastest(path: Path, folder: Path, threads: int) -> tuple[Path, str]:
    """Quantises statically (QDQ, per channel) in every way that may be fastest, and chooses.

    Activations are signed or not, and transposed convolutions, which have no 8-bit kernel there,
    are quantised or left alone.

    Args:
        path: A float32 `.onnx`.
        folder: Where to write.
        threads: Threads to choose with.

    Returns:
        The file, and what is special about it.
    """
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = folder / "prepared.onnx"
    with _silence():
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
        nodes = onnx.load(prepared).graph.node
        transposed = [node.name for node in nodes if node.op_type == "ConvTranspose"]
        found: list[tuple[float, Path, str]] = []
        for signed, left in itertools.product(
            (False, True), ([], transposed) if transposed else ([],)
        ):
            made = folder / f"int8_{len(found)}.onnx"
            kinds = quantization.QuantType
            quantization.quantize_static(
                str(prepared),
                str(made),
                _Crops(path),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=kinds.QInt8 if signed else kinds.QUInt8,
                weight_type=kinds.QInt8,
                nodes_to_exclude=left,
            )
            words = ("s8s8" if signed else "u8s8") + (", deconvolutions in float32" if left else "")
            found.append((_seconds(made, threads), made, words))
    _, fastest, words = min(found)
    return fastest, words


def _session(path: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _seconds(path: Path, threads: int) -> float:
    session = _session(path, threads)
    (image,) = session.get_inputs()
    crops = {image.name: natural_crops(*image.shape[:2])}
    session.run(None, crops)
    times = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        session.run(None, crops)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


class _Crops:
    """Shows crops to the quantiser."""

    def __init__(self, path: Path) -> None:
        (image,) = _session(path, 1).get_inputs()
        batch, side = image.shape[:2]
        count = max(1, _CROPS // batch)
        self._shown = iter({image.name: natural_crops(batch, side, seed)} for seed in range(count))

    def get_next(self) -> dict[str, Any] | None:
        return next(self._shown, None)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Hides the advice that the quantiser logs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
