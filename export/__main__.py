"""`python -m export RUN`: makes `.tflite` files of a trained network, and proves them equal."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from export.trained_run import TrainedRun
from tfau.core.errors import require_extra, run_cli
from tfau.core.names import check_name
from tfau.core.quiet import import_quietly

FORMATS = ("tflite", "onnx", "saved_model")
"""What `--formats` takes; all but the first hold the float32 network."""


def main(argv: Sequence[str] | None = None) -> None:
    """Exports a run."""
    require_extra("export", "tensorflow", "keras", "ai_edge_quantizer")
    from export.quantize import RECIPES, recipe_table
    from export.verify import Limits

    parser = argparse.ArgumentParser(
        prog="python -m export",
        description=__doc__,
        epilog=f"recipes (all have float32 ends):\n{recipe_table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    limits = Limits()
    for words, options in (
        (["run"], {"type": Path, "help": "folder of a run, or a .keras file in one"}),
        (["-o", "--out"], {"type": Path, "help": "folder to write to (default: RUN)"}),
        (
            ["--recipes"],
            {"default": "float32,static_wi8_ai8", "help": "comma-separated, or all (%(default)s)"},
        ),
        (["--formats"], {"default": "tflite", "help": f"out of {','.join(FORMATS)} (%(default)s)"}),
        (["--batch"], {"type": int, "default": 1, "help": "crops that a graph takes at once (1)"}),
        (
            ["--calibrate"],
            {
                "default": "",
                "metavar": "WHERE",
                "help": "folder of pictures and videos, or a prepared data set, that shows the "
                "range of every activation (default: crops of the training people)",
            },
        ),
        (["--seed"], {"type": int, "default": 0, "help": "decides which crops calibrate (0)"}),
        (["--data-dir"], {"help": "folder of prepared sets (default: TFDS's own)"}),
        (
            ["--max-icc-loss"],
            {
                "type": float,
                "default": limits.mean_icc_loss,
                "help": "mean ICC that quantising may cost; before it costs more, layers stay in "
                "float32 (%(default)s)",
            },
        ),
        (
            ["--max-unit-icc-loss"],
            {
                "type": float,
                "default": limits.unit_icc_loss,
                "help": "ICC that it may cost a single unit (%(default)s)",
            },
        ),
        (
            ["--force"],
            {"action": "store_true", "help": "write what is not good enough, marked as failed"},
        ),
    ):
        parser.add_argument(*words, **options)
    args = parser.parse_args(argv)

    recipes = tuple(RECIPES) if args.recipes == "all" else _words(args.recipes, "recipe", RECIPES)
    formats = _words(args.formats, "format", FORMATS)
    if not 1 <= args.batch <= 1024:
        raise ValueError(f"`--batch` must lie in 1 to 1024. Received: {args.batch}.")
    for name in ("max_icc_loss", "max_unit_icc_loss"):
        if math.isnan(getattr(args, name)):
            raise ValueError(f"`--{name.replace('_', '-')}` must be a number. Received: nan.")
    pair, out = _is_pair(args.run), args.out or args.run
    run = None if pair else TrainedRun.read(args.run)
    out = out.parent if out.suffix == ".keras" and not out.is_dir() else out
    if out.exists() and not out.is_dir():
        raise ValueError(f"`--out` must be a folder. Received: {out}")
    if pair and (formats != ("tflite",) or args.batch != 1 or args.calibrate):
        raise ValueError(
            "A pair network is exported as TFLite, one crop at a time, calibrated with its own "
            "training people: leave --formats, --batch and --calibrate out."
        )
    if "onnx" in formats:
        require_extra("onnx", "onnx", "onnxruntime", "tf2onnx")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # A GPU would multiply in TF32, and the comparison needs float32.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    import_quietly("tensorflow")
    bounds = Limits(args.max_icc_loss, args.max_unit_icc_loss)
    if run is None:
        from export.pairs import export_pair
        from tfau.pairs.learning import PairRun

        export_pair(PairRun.open(args.run), out, recipes, bounds, force=args.force)
        return
    from export.exporter import Wishes, export

    export(
        run,
        out,
        Wishes(
            recipes=recipes,
            formats=formats,
            batch=args.batch,
            calibrate=args.calibrate,
            seed=args.seed,
            limits=bounds,
            force=args.force,
            data_dir=args.data_dir,
        ),
    )


def _is_pair(folder: Path) -> bool:
    """Says whether a run is of a pair network: only those have people in a batch."""
    try:
        return "people" in json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return False


def _words(text: str, kind: str, known: Iterable[str]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        check_name(kind, name, known)
    return names


if __name__ == "__main__":
    sys.exit(run_cli(main))
