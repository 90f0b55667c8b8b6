"""`python -m export RUN`: makes `.tflite` files of a trained network, and proves them equal."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from export.quantize import RECIPES
from export.trained_run import TrainedRun
from tfau import __version__
from tfau.core import EdgeBundle
from tfau.core.errors import require_extra, run_cli
from tfau.core.files import whole_file
from tfau.core.quiet import import_quietly


def _recipes(text: str) -> list[str]:
    names = list(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in RECIPES:
            raise ValueError(
                f"`--recipes` must name some of {', '.join(RECIPES)}. Received: {name!r}."
            )
    return names


def main(argv: Sequence[str] | None = None) -> None:
    """Exports a run."""
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description=__doc__,
        epilog="recipes: " + "; ".join(f"{name}: {what}" for name, what in RECIPES.items()),
    )
    parser.add_argument("run", type=Path, help="folder of a run, e.g. runs/synthetic_tiny")
    parser.add_argument("-o", "--out", type=Path, help="folder to write to (default: RUN)")
    parser.add_argument(
        "--recipes", default="float32,static_wi8_ai8", help="comma-separated; default: %(default)s"
    )
    parser.add_argument(
        "--max-icc-loss",
        type=float,
        default=0.02,
        help="mean ICC on the test crops that quantising may cost (default: %(default)s)",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="write files that are not good enough, marked as failed",
    )
    args = parser.parse_args(argv)

    recipes, out = _recipes(args.recipes), args.out or args.run
    run = TrainedRun.read(args.run)
    if out.exists() and not out.is_dir():
        raise ValueError(f"`--out` must be a folder. Received: {out}")
    require_extra("export", "tensorflow", "keras", "ai_edge_quantizer")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # A GPU would multiply in TF32, and the comparison needs float32.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    import_quietly("tensorflow")
    export(run, out, recipes, max_icc_loss=args.max_icc_loss, force=args.force)


def export(
    run: TrainedRun, out: Path, recipes: Sequence[str], *, max_icc_loss: float, force: bool
) -> None:
    """Converts, quantises, verifies, and only then writes.

    Args:
        run: The run to export.
        out: Folder to write to; made if need be.
        recipes: Rows of `RECIPES`.
        max_icc_loss: Mean ICC that quantising may cost.
        force: Write graphs that are not good enough, marked as failed.

    Raises:
        ValueError: If a graph cannot be made or is not good enough; nothing is written then.
    """
    from export import card
    from export.litert import check, convert
    from export.quantize import quantize
    from export.verify import Verifier

    print(f"Loading {run.folder / 'model.keras'}", flush=True)
    model = run.network()
    print("Converting", flush=True)
    float_graph = convert(model, run.config.crop_size)
    verify = Verifier(run, model)
    graphs, parities, objections = {}, {}, {}
    for recipe in recipes:
        print(
            f"{recipe}: making it, and comparing it with the network on {len(run.crops)} crops",
            flush=True,
        )
        graph = graphs[recipe] = quantize(float_graph, recipe, run.calibration)
        check(graph, run.config.crop_size, len(run.aus.point_names), run.codec.stride)
        parity = parities[recipe] = verify(graph)
        objections[recipe] = parity.objection(recipe, max_icc_loss)
        if objections[recipe] and not force:
            raise ValueError(
                f"{objections[recipe]} Nothing is written; --force would, marked as failed."
            )

    tools = ("tensorflow", "keras", "ai-edge-quantizer")
    provenance = {
        **run.provenance,
        "run": run.name,
        "exported_with": {"tfau": __version__, **{tool: version(tool) for tool in tools}},
    }
    out.mkdir(parents=True, exist_ok=True)
    for recipe, graph in graphs.items():
        bundle = EdgeBundle(
            run.aus,
            run.config.crop_size,
            recipe,
            stride=run.codec.stride,
            sigma=run.codec.sigma,
            expected_error=parities[recipe].expected_error,
            provenance=provenance,
            measured={"passed": not objections[recipe], **parities[recipe].describe()},
        )
        bundle.write(out / f"{run.name}_{recipe}.tflite", graph)
    sizes = {recipe: len(graph) for recipe, graph in graphs.items()}
    with whole_file(out / f"{run.name}.md") as unfinished:
        unfinished.write_text(card.describe(run, parities, sizes, objections))

    print(f"\n{card.files_table(parities, sizes)}\n\n{card.units_table(parities)}\n")
    for recipe, parity in parities.items():
        path = out / f"{run.name}_{recipe}.tflite"
        failed = f"\n  FAILED: {objections[recipe]}" if objections[recipe] else ""
        print(f"{path}  {parity.ms_per_crop:.2f} ms per crop on one thread here{failed}")
    print(out / f"{run.name}.md")


if __name__ == "__main__":
    sys.exit(run_cli(main))
