"""`python -m edge.inspect MODEL.tflite`: says what a model file is, by its own account."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfau.core import EdgeBundle
from tfau.core.errors import run_cli


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the description of a file."""
    parser = argparse.ArgumentParser(prog="python -m edge.inspect", description=__doc__)
    parser.add_argument("model", type=Path, help="a .tflite made by `python -m export`")
    parser.add_argument("--json", action="store_true", help="print its tfau.json")
    args = parser.parse_args(argv)
    bundle, graph = EdgeBundle.open(args.model)
    if args.json:
        print(bundle.to_json(graph), end="")
        return
    print("\n".join(report(bundle, args.model.name, args.model.stat().st_size)))


def report(bundle: EdgeBundle, name: str, size: int) -> list[str]:
    """Describes a bundle for a person.

    Args:
        bundle: What the file says of itself.
        name: Of the file.
        size: Of the file, bytes.

    Returns:
        Lines of text.
    """
    measured = dict(bundle.measured)
    lines = [f"{name}, {size / 1e6:.2f} MB"]
    if measured.pop("passed", None) not in (True, None):
        lines.append("FAILED the checks of its export: do not use it.")
    each = "a crop" if bundle.batch == 1 else f"{bundle.batch} crops"
    ends = f"from {each} of {bundle.crop_size} px to intensities, 0 to 5"
    lines.append(f"{ends}, of {len(bundle.aus)} units, present from {bundle.threshold:g}:")
    lines += [f"  {unit.label}  {unit.name}" for unit in bundle.aus]
    lines.append(f"recipe: {bundle.recipe}")
    if bundle.kept:
        lines.append(f"in float32 all the same: {', '.join(bundle.kept)}")
    golden = bundle.golden
    lines.append(
        f"self-test: within {golden.tolerance:.2g} of an intensity step"
        if golden
        else "self-test: none"
    )
    tables = {
        key: values
        for key, values in measured.items()
        if isinstance(values, dict) and {"mean", *bundle.aus.names} >= set(values)
    }
    plain = {key: values for key, values in measured.items() if key not in tables}
    for title, values in (
        ("where it comes from", bundle.provenance),
        ("calibration", bundle.calibration),
        ("measured, on people unseen", plain),
    ):
        if values:
            lines += ["", f"{title}:", *_items(values, 1)]
    return [*lines, "", *_columns(tables, (*bundle.aus.names, "mean"))] if tables else lines


def _items(values: Mapping[str, Any], depth: int) -> Iterator[str]:
    """Writes a line for each item, those of an inner table indented under its name."""
    indent = "  " * depth
    for key, value in values.items():
        name = _clean(str(key).replace("_", " "))
        if isinstance(value, dict):
            yield f"{indent}{name}:"
            yield from _items(value, depth + 1)
        else:
            words = ", ".join(map(str, value)) if isinstance(value, list) else value
            yield f"{indent}{name}: {_clean(words)}"


def _columns(tables: Mapping[str, Mapping[str, Any]], rows: Sequence[str]) -> Iterator[str]:
    """Sets tables by unit side by side."""
    heads = [_clean(name.replace("_", " ")) for name in tables]
    yield "  ".join(["unit", *heads])
    for row in rows:
        cells = (
            _cell(values.get(row)).rjust(len(head))
            for head, values in zip(heads, tables.values(), strict=True)
        )
        yield "  ".join([row, *cells])


def _cell(value: Any) -> str:
    if isinstance(value, int | float) and math.isfinite(value):
        return f"{value:.3f}"
    return "-" if value is None else _clean(value)[:20]


def _clean(value: Any) -> str:
    """Takes out what would move the cursor or change the colour of a terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in str(value))


if __name__ == "__main__":
    sys.exit(run_cli(main))
