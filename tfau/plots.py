"""Pictures of a training run, and of what its predictions are worth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from tfau.core.action_units import INTENSITY_MAX, AUSet
from tfau.core.heatmaps import HeatmapCodec

if TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes

    from tfau.predictions import Predictions
    from tfau.scoring import Scores


def curves(history: list[dict[str, float]]) -> Figure:
    """Draws loss and validation scores over the epochs."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    left.plot(epochs, [row["loss"] for row in history], color="tab:blue")
    left.set(title="training loss", xlabel="epoch", yscale="log")
    colours = {"ICC": "green", "PCC": "olive", "MAE": "red", "F1": "green", "AUC": "olive"}
    known = [name for name in colours if any(name in row for row in history)]
    for name in known:
        scores = [row.get(name, np.nan) for row in history]
        right.plot(epochs, scores, color=f"tab:{colours[name]}", label=name)
    right.set(title="validation people, mean over units", xlabel="epoch", ylim=(0, 1))
    if known:
        right.legend()
    else:
        right.text(0.5, 0.5, "nobody chose the epoch", transform=right.transAxes, ha="center")
    for axis in (left, right):
        axis.grid(alpha=0.3)
    return figure


def sheet(
    model: keras.Model,
    aus: AUSet,
    codec: HeatmapCodec,
    images: npt.NDArray[np.uint8],
    points: npt.NDArray[np.float32],
) -> Figure:
    """Draws crops, the maps predicted for them, and true against estimated intensities.

    Args:
        model: An `AUHeatmapNet`.
        aus: Its units.
        codec: Reads its maps.
        images: (N, S, S, 3) crops; evenly spaced ones are shown.
        points: (N, P, 3) their labels.

    Returns:
        The sheet.
    """
    rows, columns = 3, 4
    pick = np.linspace(0, len(images) - 1, min(rows * columns, len(images))).astype(int)
    maps = model.predict(images[pick], verbose=0)["heatmaps"]
    estimate = np.clip(aus.pool(codec.decode(maps)[..., 2]), 0, 5)
    truth = aus.pool(points[pick][..., 2])

    figure = Figure(figsize=(columns * 4.2, rows * 2.3), layout="constrained")
    cells = figure.subplots(rows, columns * 2, squeeze=False)
    for cell in cells.flat:
        cell.axis("off")
    side = codec.crop_size
    for n, index in enumerate(pick):
        picture, bars = cells[n // columns, n % columns * 2 : n % columns * 2 + 2]
        picture.imshow(images[index], extent=(0, side, side, 0))
        picture.imshow(
            maps[n].max(axis=-1),
            cmap="inferno",
            vmin=0,
            vmax=5,
            alpha=np.clip(maps[n].max(axis=-1) / 2.5, 0, 0.75),
            extent=(0, side, side, 0),
            interpolation="bilinear",
        )
        bars.axis("on")
        place = np.arange(len(aus))
        bars.barh(place, truth[n], height=0.8, color="0.8", label="label")
        bars.barh(place, estimate[n], height=0.4, color="tab:orange", label="network")
        bars.set(xlim=(0, 5), xticks=(0, 5), yticks=place, yticklabels=aus.names)
        bars.tick_params(labelsize=7, length=0)
        bars.invert_yaxis()
    cells[0, 1].legend(fontsize=7, loc="lower right")
    return figure


def panel(
    model: keras.Model,
    codec: HeatmapCodec,
    images: npt.NDArray[np.uint8],
    points: npt.NDArray[np.float32],
) -> npt.NDArray[np.uint8]:
    """Draws crops, below them the maps they should have, and below those the maps they get.

    Args:
        model: An `AUHeatmapNet`.
        codec: Reads its maps.
        images: (N, S, S, 3) crops.
        points: (N, P, 3) their labels.

    Returns:
        (3 S, N S, 3) RGB. Of all maps of a crop, the highest value is shown, 0 black to 5 white.
    """
    wanted, drawn = codec.encode(np.nan_to_num(points)), model.predict_on_batch(images)["heatmaps"]
    rows = [images]
    for maps in (wanted, drawn):
        colours = colormaps["inferno"](maps.max(axis=-1) / INTENSITY_MAX, bytes=True)[..., :3]
        rows.append(colours.repeat(codec.stride, axis=1).repeat(codec.stride, axis=2))
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])


def bars(scores: Scores) -> Figure:
    """Draws the scores of every unit with their intervals, and the mean apart.

    Args:
        scores: ICC and MAE are shown of intensity (with a tick where a constant answer lies, if
            that is known), F1 and AUC of presence, F1 and recall of emotions. Groups are not shown.

    Returns:
        A row for each metric.
    """
    panels = []
    for table, names in (
        (scores.intensity, ("ICC", "MAE")),
        (scores.presence, ("F1", "AUC")),
        (scores.emotion, ("F1", "recall")),
    ):
        panels += [(table, name) for name in names] if table is not None else []
    widest = max(len(table.units) for table, _ in panels)
    figure = Figure(figsize=(2 + 0.42 * (widest + 1), 1.9 * len(panels)), layout="constrained")
    cells = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axis, (table, name) in zip(cells, panels, strict=True):
        metric = table.metrics[name]
        count = len(table.units)
        place = np.append(np.arange(count), count + 0.5)
        # A percentile interval may lie beside its value; a line of negative length may not.
        doubt = np.abs(np.stack([metric.value - metric.low, metric.high - metric.value]))
        colours = [*["tab:blue"] * count, "tab:orange"]
        axis.bar(place, metric.value, 0.7, color=colours, alpha=0.85)
        axis.errorbar(place, metric.value, doubt, fmt="none", ecolor="0.15", capsize=2.5, lw=1.2)
        if name in table.constant:
            constant = table.constant[name]
            axis.hlines(constant, place - 0.42, place + 0.42, color="tab:red")
            axis.set_title("red: a constant answer", fontsize=7, loc="right", color="tab:red")
        if name == "AUC":
            axis.axhline(0.5, color="0.4", lw=0.8, ls=":")
            axis.set_title("dotted: chance", fontsize=7, loc="right", color="0.4")
        if name != "MAE":
            axis.set_ylim(np.nanmin([0.0, *metric.value, *metric.low]), 1)
        labels = [*(unit.removeprefix("AU").lstrip("0") for unit in table.units), "mean"]
        axis.set(ylabel=name, xticks=place, xticklabels=labels, xlim=(-0.6, count + 1.1))
        axis.tick_params(axis="x", labelsize=8, length=0, rotation=45 * (table is scores.emotion))
        axis.axhline(0, color="0.15", lw=0.8)
        axis.grid(axis="y", alpha=0.3)
        axis.set_axisbelow(True)
        axis.set_xlabel("emotion" if table is scores.emotion else "action unit", fontsize=8)
    return figure


def confusion(predictions: Predictions) -> Figure:
    """Draws which level is taken for which, one matrix for each unit.

    Args:
        predictions: Intensities are rounded to the levels 0-5; a face that was not found counts
            as 0, as it does in the scores.

    Returns:
        Matrices with the truth from top to bottom. Numbers are frames; the colour is their share
        in the row.

    Raises:
        ValueError: If no unit is both coded and estimated.
    """
    levels = np.arange(int(INTENSITY_MAX) + 1)
    figure, cells = _small_multiples(predictions, 1.75)
    for cell, (name, truth, estimate) in zip(cells, _intensities(predictions), strict=False):
        pairs = np.rint(truth).astype(int) * len(levels) + np.rint(estimate).astype(int)
        counts = np.bincount(pairs, minlength=len(levels) ** 2).reshape(len(levels), -1)
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        cell.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                shown = str(count) if count < 10_000 else f"{count / 1000:.0f}k"
                colour = "white" if share[row, column] > 0.6 else "0.1"
                cell.text(column, row, shown, ha="center", va="center", fontsize=5.5, color=colour)
        cell.set_title(name, fontsize=8)
        cell.set(xticks=levels, yticks=levels)
    figure.supxlabel("estimate", fontsize=9)
    figure.supylabel("truth", fontsize=9)
    return figure


def bland_altman(predictions: Predictions) -> Figure:
    """Draws how far estimates lie from the truth, over the level, one picture for each unit.

    Args:
        predictions: As in `confusion`.

    Returns:
        Densities of the difference (estimate minus truth) over the mean of the two, with the bias
        (line) and the limits of agreement (dashed): bias plus and minus 1.96 standard deviations.

    Raises:
        ValueError: If no unit is both coded and estimated.

    References:
        Bland and Altman, "Statistical methods for assessing agreement between two methods of
        clinical measurement", Lancet 327, 1986.
    """
    figure, cells = _small_multiples(predictions, 1.9)
    top = INTENSITY_MAX
    edges = np.linspace(0, top, 41), np.linspace(-top, top, 61)
    for cell, (name, truth, estimate) in zip(cells, _intensities(predictions), strict=False):
        gap = estimate - truth
        density = np.histogram2d((estimate + truth) / 2, gap, edges)[0].T
        density = np.where(density > 0, density, np.nan)
        norm = LogNorm(1, max(2.0, float(np.nanmax(density))))
        cell.pcolormesh(*edges, density, cmap="viridis_r", norm=norm, rasterized=True)
        bias, limit = gap.mean(), 1.96 * gap.std()
        for height, style in ((bias, "-"), (bias - limit, "--"), (bias + limit, "--")):
            cell.axhline(height, color="tab:red", lw=1, ls=style)
        cell.axhline(0, color="0.5", lw=0.5)
        cell.set_title(f"{name}   {bias:+.2f} \u00b1 {limit:.2f}", fontsize=8)
        cell.set(
            xlim=(0, top),
            ylim=(-top, top),
            xticks=(0, 1, 2, 3, 4, 5),
            yticks=(-4, -2, 0, 2, 4),
        )
    figure.supxlabel("mean of estimate and truth", fontsize=9)
    figure.supylabel("estimate - truth, bias \u00b1 1.96 sd", fontsize=9)
    return figure


def _intensities(
    predictions: Predictions,
) -> Iterator[tuple[str, npt.NDArray[np.floating[Any]], npt.NDArray[np.floating[Any]]]]:
    """Yields the units that are coded and estimated: name, truth and estimate where coded."""
    for column, name in enumerate(predictions.aus.names):
        truth, estimate = predictions.intensity_true[:, column], predictions.intensity[:, column]
        coded = ~np.isnan(truth)
        if coded.any() and not np.isnan(estimate).all():
            found = np.nan_to_num(np.clip(estimate[coded], 0.0, INTENSITY_MAX))
            yield name, truth[coded], found


def _small_multiples(predictions: Predictions, side: float) -> tuple[Figure, list[Axes]]:
    """Makes a figure with a cell for each unit to be drawn, `side` inches wide and high."""
    count = sum(1 for _ in _intensities(predictions))
    if not count:
        raise ValueError("No intensity is both coded and estimated, so there is nothing to draw.")
    rows = -(-count // 6)
    columns = -(-count // rows)
    figure = Figure(figsize=(side * columns + 0.6, side * rows + 0.6), layout="constrained")
    cells = list(figure.subplots(rows, columns, squeeze=False).flat)
    for cell in cells[count:]:
        cell.axis("off")
    for cell in cells[:count]:
        cell.tick_params(labelsize=6, length=2)
    return figure, cells[:count]
