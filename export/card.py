"""The model card: what a person should know before using the files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from export.calibration import Calibration
from export.quantize import RECIPES
from export.trained_run import TrainedRun
from export.verify import MAX_FLOAT_ERROR, PRESENT

if TYPE_CHECKING:
    from export.exporter import Made


def files_table(made: Sequence[Made]) -> str:
    """Lays out one row for each file, as a Markdown table."""
    errors = ("crops apart", "max map error", "mean map error", "max AU error", "peaks agree")
    rows = [["recipe", "MB", *errors, "ICC", "ICC lost (95 %)"]]
    for one in made:
        parity = one.parity
        found = (parity.max_map_error, parity.mean_map_error, parity.max_intensity_error)
        change, low, high = parity.change["ICC"]["mean"]
        rows.append(
            [
                one.name,
                f"{one.size / 1e6:.2f}",
                f"{parity.crops_apart} of {parity.crops}",
                *(f"{error:.1e}" for error in found),
                _number(parity.peaks_agree),
                _number(parity.graph["ICC"]["mean"]),
                # The ends change places with the sign.
                f"{_number(-change)} [{_number(-high)}, {_number(-low)}]",
            ]
        )
    return _markdown(rows)


def units_table(made: Sequence[Made]) -> str:
    """Lays out the ICC of each unit, before and after export, as a Markdown table."""
    rows = [["AU", "network", *(word for one in made for word in (one.name, "lost"))]]
    for unit, before in made[0].parity.network["ICC"].items():
        after = [
            _number(value)
            for one in made
            for value in (one.parity.graph["ICC"][unit], one.parity.icc_loss[unit])
        ]
        rows.append([unit, _number(before), *after])
    return _markdown(rows)


def scores_table(one: Made) -> str:
    """Lays out all scores of a file, and what of each the export has changed."""
    parity = one.parity
    rows = [["AU", *(word for metric in parity.graph for word in (metric, "change (95 %)"))]]
    for unit in parity.graph["ICC"]:
        row = [unit]
        for metric, values in parity.graph.items():
            change, low, high = parity.change[metric][unit]
            row += [
                _number(values[unit]),
                f"{_number(change)} [{_number(low)}, {_number(high)}]",
            ]
        rows.append(row)
    return _markdown(rows)


def kept_table(one: Made) -> str:
    """Lays out what a file keeps in float32, and what that costs."""
    rows = [["kept in float32", "error if quantised alone", "bytes more", "ms more"]]
    for kept in one.kept:
        cells = f"{kept.blame:.1e}", f"{kept.extra_bytes:,}", f"{kept.extra_ms:.2f}"
        rows.append([kept.layer, *cells])
    return _markdown(rows)


def errors_table(run: TrainedRun, one: Made) -> str:
    """Lays out how wrong each unit is at each level that the graph reads, as a Markdown table."""
    errors = one.parity.expected_error
    rows = [["AU", *(f"at {level}" for level in range(len(errors[0])))]]
    for unit, row in zip(run.aus.names, errors, strict=True):
        rows.append([unit, *("-" if error is None else f"{error:.2f}" for error in row)])
    return _markdown(rows)


def describe(run: TrainedRun, made: Sequence[Made], shown: Calibration) -> str:
    """Writes the card, its sections those of Mitchell et al., "Model Cards", 2019.

    Args:
        run: Where the network comes from.
        made: What was made of it.
        shown: What it was calibrated with.

    Returns:
        Markdown, with a header in YAML as model hubs read it.
    """
    units = ", ".join(f"{unit.label} {unit.name}" for unit in run.aus)
    facts = "\n".join(
        f"- {key.replace('_', ' ')}: {value}"
        for key, value in run.provenance.items()
        if isinstance(value, str) and value
    )
    files = "\n".join(f"- `{one.file}`: {_what(one)}{_warning(one)}" for one in made)
    last = made[-1]
    kept = "\n\n".join(
        f"`{one.file}` keeps what its quantisation cannot do without:\n\n{kept_table(one)}"
        for one in made
        if one.kept
    )
    calibrated = (
        f"\nCalibrated with {len(shown.crops)} crops: {shown.source}, half of them at random and "
        "half where units are strongest.\n"
        if any(one.name in RECIPES and RECIPES[one.name].calibrated for one in made)
        else ""
    )
    tflite = next((one.file for one in made[::-1] if one.name in RECIPES), "")
    use = (
        f"""
    python -m edge.video PHOTO_OR_VIDEO --model {tflite} -o OUT
    tfau inspect {tflite}
    tfau verify {tflite}
"""
        if tflite
        else ""
    )
    return f"""---
library_name: tfau
pipeline_tag: image-feature-extraction
tags: [facial-action-units, facs, tflite]
---

# {run.name}

Estimates the intensity, 0 (absent) to 5 (maximum), of {len(run.aus)} facial action units in an
aligned face crop of {run.config.crop_size} px: {units}.

## Model details

A {run.config.network} network on the backbone {run.config.backbone}, trained by tfau.

{files}
{calibrated}
## Intended use

To measure facial movement in pictures of people who know of it and agree. It sees muscles, not
feelings, and knows only faces like those it was trained on. It is not made to identify people, to
judge them, or to diagnose. May be used by: {run.use}.
{use}
## Factors

Where the light is poor, the head is turned, or the face is small or covered, errors are larger than
the figures below. Scores by kind of person: `python -m tfau.evaluate`, where the data set knows it.

## Training data

{facts}

## Evaluation data and metrics

{last.parity.crops} crops of {last.parity.people} people of the test split. ICC is ICC(3,1); MAE is
in intensity units; F1 is of presence, {
        PRESENT:g} or more. Intervals: 95 % by bootstrap over people.

## Parity with the trained network

A crop is apart if a map pixel differs by more than {MAX_FLOAT_ERROR:g}; errors are in intensity
units; lost is what the export has cost; peaks agree where the highest pixel of a bump is the same,
give or take one.

{files_table(made)}

{units_table(made)}
{
        f'''
{kept}
'''
        if kept
        else ""
    }
## Quantitative analysis

`{last.file}`, and what of each score the export has changed:

{scores_table(last)}

By how much it is wrong on average, up or down, where it reads a unit as 0, 1, ... 5: the errors on
the same crops. The edge reports it beside each intensity, on a straight line between.

{errors_table(run, last)}

## Ethical considerations and caveats

Estimates of a face are personal data in many countries, and so is the picture. Everything can run
on the device; nothing needs to be sent anywhere. An action unit is a movement, not a feeling, and
intensities of different people compare only as far as their neutral faces do.
"""


def _what(one: Made) -> str:
    if one.name in RECIPES:
        return f"{RECIPES[one.name].summary}; {RECIPES[one.name].runs}"
    return "as trained, float32"


def _warning(one: Made) -> str:
    return f". **Failed: {one.objection}**" if one.objection else ""


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
