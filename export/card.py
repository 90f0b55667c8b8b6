"""The model card: what a person should know before using the files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from export.quantize import RECIPES
from export.trained_run import TrainedRun
from export.verify import MAX_FLOAT_ERROR, Parity


def files_table(parities: Mapping[str, Parity], sizes: Mapping[str, int]) -> str:
    """Lays out one row for each file.

    Args:
        parities: How each recipe compares with the network.
        sizes: Bytes of each recipe's graph.

    Returns:
        A Markdown table.
    """
    errors = ("crops apart", "max map error", "mean map error", "max AU error")
    rows = [["recipe", "MB", *errors, "ICC", "ICC lost"]]
    for recipe, parity in parities.items():
        found = (parity.max_map_error, parity.mean_map_error, parity.max_intensity_error)
        rows.append(
            [
                recipe,
                f"{sizes[recipe] / 1e6:.2f}",
                f"{parity.crops_apart} of {parity.crops}",
                *(f"{error:.1e}" for error in found),
                _number(parity.icc["mean"]),
                _number(parity.icc_loss["mean"]),
            ]
        )
    return _markdown(rows)


def units_table(parities: Mapping[str, Parity]) -> str:
    """Lays out the ICC of each unit, before and after export, as a Markdown table."""
    network = next(iter(parities.values())).icc_network
    rows = [["AU", "network", *(word for recipe in parities for word in (recipe, "lost"))]]
    for unit, before in network.items():
        after = [
            _number(value)
            for parity in parities.values()
            for value in (parity.icc[unit], parity.icc_loss[unit])
        ]
        rows.append([unit, _number(before), *after])
    return _markdown(rows)


def errors_table(run: TrainedRun, parity: Parity) -> str:
    """Lays out how wrong each unit is at each level that the graph reads, as a Markdown table."""
    rows = [["AU", *(f"at {level}" for level in range(len(parity.expected_error[0])))]]
    for unit, errors in zip(run.aus.names, parity.expected_error, strict=True):
        rows.append([unit, *("-" if error is None else f"{error:.2f}" for error in errors)])
    return _markdown(rows)


def describe(
    run: TrainedRun,
    parities: Mapping[str, Parity],
    sizes: Mapping[str, int],
    objections: Mapping[str, str],
) -> str:
    """Writes the card.

    Args:
        run: Where the network comes from.
        parities: How each recipe compares with it.
        sizes: Bytes of each recipe's graph.
        objections: Why a recipe's graph should not be used; empty if it may.

    Returns:
        Markdown.
    """
    units = ", ".join(f"{unit.label} {unit.name}" for unit in run.aus)
    facts = "\n".join(
        f"- {key.replace('_', ' ')}: {value}"
        for key, value in run.provenance.items()
        if isinstance(value, str) and value
    )
    recipes = "\n".join(
        f"- `{run.name}_{name}.tflite`: {RECIPES[name]}{_warning(objections[name])}"
        for name in parities
    )
    recipe, last = list(parities.items())[-1]
    return f"""# {run.name}

Estimates the intensity, 0 (absent) to 5 (maximum), of {len(run.aus)} facial action units in an
aligned face crop of {run.config.crop_size} px: {units}.

It sees muscles, not feelings, and knows only faces like those it was trained on.

## Use

    python -m edge.video PHOTO_OR_VIDEO --model {run.name}_{recipe}.tflite -o OUT

{recipes}

Each file carries this description for machines: `unzip -p FILE tfau.json`.

## Training data

{facts}

## Parity with the trained network

On {last.crops} crops of the test split; a crop is apart if a map pixel differs by more than
{MAX_FLOAT_ERROR:g}. Errors are in intensity units, scores are ICC(3,1); lost is what the export has
cost.

{files_table(parities, sizes)}

{units_table(parities)}

## Uncertainty

By how much `{recipe}` is wrong on average, up or down, where it reads a unit as 0, 1, ... 5: the
errors on the same crops. The edge reports it beside each intensity, on a straight line between.

{errors_table(run, last)}
"""


def _warning(objection: str) -> str:
    return f". **Failed: {objection}**" if objection else ""


def _number(value: float) -> str:
    # + 0 because nobody wants to read -0.000
    return f"{round(value, 3) + 0:.3f}" if math.isfinite(value) else "-"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    """Pads the columns, so that the table reads well in a terminal too."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| "
        + " | ".join(
            cell.rjust(width) if n else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in rows
    ]
    rule = "|".join("-" * (width + 1) + (":" if n else "-") for n, width in enumerate(widths))
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])
