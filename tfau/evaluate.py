"""`python -m tfau.evaluate RUN`: scores a trained network on people it has not seen."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tfau.core.action_units import INTENSITY_MAX, AUSet
from tfau.core.agreement import score
from tfau.core.errors import require_extra, run_cli
from tfau.core.heatmaps import HeatmapCodec
from tfau.core.quiet import import_quietly

if TYPE_CHECKING:
    import keras

    from tfau.data.pipeline import PreparedSet

Scores = dict[str, dict[str, float]]


def estimate(
    model: keras.Model, data: PreparedSet, split: str, aus: AUSet, codec: HeatmapCodec
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Runs a network over a split, a batch at a time.

    Args:
        model: An `AUHeatmapNet`.
        data: The prepared set.
        split: `"train"`, `"validation"` or `"test"`.
        aus: Units of the network.
        codec: Reads its maps.

    Returns:
        (N, A) labels, and (N, A) intensities in 0-5.
    """
    truth, answer = [], []
    for images, points in data.batches(split, aus, codec.crop_size, 64):
        maps = model.predict_on_batch(images)["heatmaps"]
        truth.append(aus.pool(points[..., 2]))
        answer.append(aus.pool(codec.decode(maps)[..., 2]))
    return np.concatenate(truth), np.clip(np.concatenate(answer), 0.0, INTENSITY_MAX)


def evaluate(
    model: keras.Model, data: PreparedSet, split: str, aus: AUSet, codec: HeatmapCodec
) -> tuple[Scores, Scores]:
    """Scores a network on a split, beside a predictor that always gives the training mean.

    Returns:
        The table of the network and that of the constant, as `agreement.score` makes them.
    """
    truth, answer = estimate(model, data, split, aus, codec)
    constant = np.nanmean(data.intensities("train", aus), axis=0)
    return score(aus, truth, answer), score(aus, truth, np.broadcast_to(constant, truth.shape))


def table(scores: Scores, constant: Scores) -> list[list[str]]:
    """Lays the two tables out side by side: header first, one row per unit, the mean last."""
    header = ["AU", "ICC", "PCC", "MAE", "MSE", "MAE of a constant", "MSE of a constant"]
    rows = [header]
    for unit, values in scores.items():
        numbers = [values[name] for name in ("ICC", "PCC", "MAE", "MSE")]
        numbers += [constant[unit][name] for name in ("MAE", "MSE")]
        rows.append([unit, *(f"{number:.2f}" for number in numbers)])
    return rows


def markdown(rows: list[list[str]]) -> str:
    """Writes a table as Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def show(rows: list[list[str]], title: str) -> None:
    """Prints a table to the terminal."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(title=title)
    for n, name in enumerate(rows[0]):
        grid.add_column(name, justify="left" if n == 0 else "right")
    for row in rows[1:]:
        grid.add_row(*row, end_section=row is rows[-2])
    Console().print(grid)


def main(argv: Sequence[str] | None = None) -> None:
    """Scores a run."""
    parser = argparse.ArgumentParser(prog="python -m tfau.evaluate", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run, e.g. runs/synthetic_tiny")
    parser.add_argument("--split", default="test", choices=["train", "validation", "test"])
    parser.add_argument("--data-dir", help="folder of prepared sets (default: TFDS's own)")
    args = parser.parse_args(argv)
    require_extra("train", "tensorflow", "keras", "tensorflow_datasets", "rich")
    import_quietly("tensorflow")

    from tfau.training import Run

    run = Run.open(args.run)
    scores, constant = evaluate(
        run.model(), run.data(args.data_dir), args.split, run.aus, run.codec
    )
    show(table(scores, constant), f"{run.config.name}: {args.split} split")


if __name__ == "__main__":
    sys.exit(run_cli(main))
