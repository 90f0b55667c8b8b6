"""Plots of what was found, for screens and papers. Needs matplotlib."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edge.findings import Findings
from tfau.core import events as happenings
from tfau.core.action_units import ACTION_UNITS, INTENSITY_MAX
from tfau.core.signals import longest_gap

Floats = npt.NDArray[np.float64]
Rgb = tuple[float, float, float]

_STRETCHES = {"dominant": "tab:blue", "two-fold": "tab:red", "volatile": "tab:green"}
_MOST_POINTS = 4000  # of a curve: more than a plot has pixels


def colours(count: int) -> list[Rgb]:
    """Returns as many colours as there are expressions, light enough for a dark ground too."""
    table = [tuple(map(float, c)) for c in colormaps["tab10"](np.arange(10))[:, :3]]
    hues = [
        colorsys.hls_to_rgb((0.07 + 0.381966 * i) % 1.0, 0.45 + 0.12 * (i % 3), 0.65)
        for i in range(max(0, count - len(table)))
    ]
    return [(r, g, b) for r, g, b in [*table[:count], *hues]]


def thin(times_s: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Averages neighbours until a curve has no more points than can be seen."""
    step = -(-len(times_s) // _MOST_POINTS)
    if step <= 1:
        return times_s, values
    starts = np.arange(0, len(times_s), step)
    known = ~np.isnan(values)
    count = np.add.reduceat(known, starts, axis=0, dtype=np.float64)
    total = np.add.reduceat(np.where(known, values, 0), starts, axis=0)
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return times_s[starts], mean


def draw_expressions(axis: Axes, found: Findings, *, line_width: float = 1.4) -> None:
    """Draws the timing diagram: each expression where it is among the highest of its moment."""
    names = found.names[:-1]
    visible = np.full(found.scores[:, :-1].shape, np.nan)
    for ranked in found.ranks.T:
        rows = np.flatnonzero((ranked >= 0) & (ranked < len(names)))
        visible[rows, ranked[rows]] = found.scores[rows, ranked[rows]]
    times, series = _broken(found.face.times_s, visible)
    for column, (name, colour) in enumerate(zip(names, colours(len(names)), strict=True)):
        if not np.isnan(series[:, column]).all():
            # A single sample between two gaps has no line, so it gets a dot.
            axis.plot(
                times,
                series[:, column],
                color=colour,
                label=name,
                linewidth=line_width,
                solid_capstyle="round",
            )


def timing(found: Findings) -> Figure:
    """Draws the timing diagram of expressions, the threshold, and the stretches that stand out."""
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    axis = figure.subplots()
    drawn = set()
    for event in found.events:
        if event.kind in _STRETCHES:
            label = event.kind if event.kind not in drawn else None
            drawn.add(event.kind)
            axis.axvspan(
                event.onset_s,
                event.offset_s,
                color=_STRETCHES[event.kind],
                alpha=0.10,
                linewidth=0,
                label=label,
            )
    draw_expressions(axis, found)
    if not np.isnan(found.threshold):
        axis.axhline(
            found.threshold, color="0.35", linestyle="--", linewidth=1, label="neutral below"
        )
    times = found.face.times_s
    axis.set(xlim=(times[0], max(times[-1], times[0] + 1e-3)), ylim=(0, None))
    axis.set(xlabel="time, s", ylabel="score", title="Expressions: the highest of each moment")
    handles, _ = axis.get_legend_handles_labels()
    if handles:
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    _tidy(axis)
    return figure


def units(found: Findings) -> Figure:
    """Draws every unit over time, and its events."""
    face = found.face
    times, levels = _broken(face.times_s, face.levels)
    rows = -(-len(face.aus) // 2)
    figure = Figure(figsize=(12, 0.75 * rows + 1.0), layout="constrained")
    axes = figure.subplots(rows, 2, sharex=True, sharey=True, squeeze=False)
    for place, axis in enumerate(axes.T.flat):
        if place >= len(face.aus):
            axis.set_axis_off()
            continue
        unit = face.aus.units[place]
        for event in found.events:
            if event.kind == unit.label:
                axis.axvspan(event.onset_s, event.offset_s, color="tab:blue", alpha=0.15, lw=0)
        axis.plot(times, levels[:, place], color="tab:blue", linewidth=1)
        axis.text(
            0.005,
            0.94,
            f"{unit.label} {unit.name}",
            transform=axis.transAxes,
            va="top",
            fontsize=8,
            bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1},
        )
        axis.set(ylim=(0, INTENSITY_MAX), yticks=(0, 1, 3, 5))
        axis.tick_params(labelsize=7)
        _tidy(axis)
    for axis in axes[-1]:
        axis.set_xlabel("time, s")
    figure.suptitle("Action units: intensity, 0 to 5; events shaded", fontsize=11)
    return figure


def density(found: Findings) -> Figure:
    """Draws how often which score occurs, and the threshold below which a face shows nothing."""
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axis = figure.subplots()
    values = found.scores[:, :-1]
    values = values[~np.isnan(values)]
    if values.size:
        edges = np.linspace(0, max(float(values.max()), 1e-3), 60)
        axis.hist(values, edges.tolist(), density=True, color="tab:blue", alpha=0.35)
        axis.plot(*_kernel_density(values, edges[-1]), color="tab:blue")
        axis.axvline(found.threshold, color="tab:red", linestyle="--", label="threshold")
        axis.legend(frameon=False)
        axis.set_yscale("symlog", linthresh=1)
    axis.set(xlabel="score of any expression", ylabel="density", title="What counts as neutral")
    _tidy(axis)
    return figure


def _kernel_density(values: Floats, end: float) -> tuple[Floats, Floats]:
    """Smooths a fine histogram with a Gaussian of Silverman's width, mirrored at 0."""
    grid = np.linspace(0, end, 512)
    count, _ = np.histogram(values, 512, (0, end))
    spread = float(min(values.std(), np.subtract(*np.quantile(values, [0.75, 0.25])) / 1.34))
    width = max(0.9 * (spread or float(values.std())) * len(values) ** -0.2, end / 256)
    apart = grid[:, None] - grid[None]
    kernel = np.exp(-((apart / width) ** 2) / 2) + np.exp(
        -(((grid[:, None] + grid[None]) / width) ** 2) / 2
    )
    kernel /= width * np.sqrt(2 * np.pi)
    return grid, np.asarray(kernel @ count / len(values))


def recent(found: Findings) -> Figure:
    """Draws which expression weighs most over the seconds before each moment."""
    names = found.names[:-1]
    figure = Figure(figsize=(12, 0.28 * len(names) + 1.2), layout="constrained")
    axis = figure.subplots()
    best = found.recent.argmax(axis=1)
    some = found.recent.max(axis=1, initial=0.0) > 0
    palette = np.array(colours(len(names)))
    times = found.face.times_s
    axis.scatter(times[some], best[some], c=palette[best[some]], s=6, marker="s", linewidths=0)
    axis.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
    axis.set(xlim=(times[0], max(times[-1], times[0] + 1e-3)), xlabel="time, s")
    axis.set_title(f"Expression that weighs most over {found.questions.window_s:g} s")
    _tidy(axis)
    return figure


def co_occurrence(found: Findings) -> Figure:
    """Draws how much of the time of two units they share."""
    face = found.face
    shared = happenings.co_occurrence(face.times_s, found.active)
    there = [i for i in range(len(face.aus)) if shared[i, i] > 0]
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axis = figure.subplots()
    names = [face.aus.names[i] for i in there]
    if there:
        image = axis.imshow(shared[np.ix_(there, there)], vmin=0, vmax=1, cmap="Blues")
        figure.colorbar(image, ax=axis, label="time shared / time of either", shrink=0.8)
    axis.set(xticks=range(len(names)), yticks=range(len(names)))
    axis.set_xticklabels(names, rotation=90, fontsize=8)
    axis.set_yticklabels(names, fontsize=8)
    axis.set_title("Units that are there together")
    return figure


def sides(found: Findings) -> Figure:
    """Draws on which side units are stronger."""
    face = found.face
    skew = happenings.asymmetry(face.left, face.right, threshold=found.questions.on)
    known = [i for i in range(len(face.aus)) if not np.isnan(skew[i])]
    figure = Figure(figsize=(6.4, 0.26 * max(len(known), 1) + 1.3), layout="constrained")
    axis = figure.subplots()
    axis.barh(
        [face.aus.names[i] for i in known],
        [skew[i] for i in known],
        color=["tab:blue" if skew[i] > 0 else "tab:orange" for i in known],
    )
    axis.axvline(0, color="0.3", linewidth=0.8)
    axis.set(
        xlim=(-1, 1), xlabel="right stronger   (left - right) / (left + right)   left stronger"
    )
    axis.set_title("Asymmetry while a unit is there")
    axis.invert_yaxis()
    _tidy(axis)
    return figure


def over_photos(faces: Sequence[Any], names: Sequence[str]) -> Figure:
    """Draws the units of a set of photos, one column each.

    Args:
        faces: A `FaceTable` for each face number; the first is drawn.
        names: Names of all photos, in order.
    """
    face = faces[0]
    grid = np.full((len(face.aus), len(names)), np.nan)
    grid[:, face.frames - 1] = face.levels.T
    figure = Figure(
        figsize=(min(3 + 0.3 * len(names), 40), 0.28 * len(face.aus) + 2), layout="constrained"
    )
    axis = figure.subplots()
    image = axis.imshow(grid, vmin=0, vmax=INTENSITY_MAX, cmap="viridis", aspect="auto")
    figure.colorbar(image, ax=axis, label="intensity", shrink=0.8)
    axis.set(yticks=range(len(face.aus)))
    axis.set_yticklabels([f"{n} {ACTION_UNITS[int(n[2:])].name}" for n in face.aus.names])
    step = -(-len(names) // 60)
    axis.set_xticks(range(0, len(names), step))
    axis.set_xticklabels([name[:24] for name in names[::step]], rotation=90, fontsize=7)
    axis.set_title("Action units across photos")
    return figure


PLOTS: dict[str, Callable[[Findings], Figure]] = {
    "expressions": timing,
    "action_units": units,
    "neutral": density,
    "lately": recent,
    "together": co_occurrence,
    "sides": sides,
}


def plots(found: Findings) -> Iterator[tuple[str, Figure]]:
    """Yields every plot of a face that has anything to show."""
    for name, draw in PLOTS.items():
        if len(found.face):
            yield name, draw(found)


def _broken(times_s: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Thins curves out, and puts a gap where nothing is known for longer."""
    times, values = thin(times_s, values)
    gaps = np.flatnonzero(np.diff(times) > longest_gap(times)) + 1
    middle = (times[gaps] + times[gaps - 1]) / 2
    return np.insert(times, gaps, middle), np.insert(values, gaps, np.nan, axis=0)


def _tidy(axis: Axes) -> None:
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.grid(alpha=0.25)
