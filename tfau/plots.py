"""Pictures of a training run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from tfau.core.action_units import AUSet
from tfau.core.heatmaps import HeatmapCodec

if TYPE_CHECKING:
    import keras


def curves(history: list[dict[str, float]]) -> Figure:
    """Draws loss and validation scores over the epochs."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    left.plot(epochs, [row["loss"] for row in history], color="tab:blue")
    left.set(title="training loss", xlabel="epoch", yscale="log")
    for name, colour in (("ICC", "tab:green"), ("PCC", "tab:olive"), ("MAE", "tab:red")):
        right.plot(epochs, [row[name] for row in history], color=colour, label=name)
    right.set(title="validation people, mean over units", xlabel="epoch", ylim=(0, 1))
    right.legend()
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
