"""One export: from a trained run to verified files that say what they are."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras

from edge.runtime import Graph
from export import card, formats
from export.calibration import Calibration, calibration
from export.golden import golden
from export.litert import check, convert
from export.quantize import RECIPES, Quantizer
from export.selective import Kept, quantize_selectively
from export.trained_run import TrainedRun
from export.verify import Limits, Parity, Runner, Verifier, check_file, read_intensities
from tfau import __version__
from tfau.core import EdgeBundle
from tfau.core.errors import ctrl_c
from tfau.core.files import whole_file, whole_folder


@dataclass(frozen=True)
class Wishes:
    """Says what is to be made of a run.

    Args:
        recipes: Rows of `export.quantize.RECIPES`.
        formats: Out of tflite, onnx and saved_model; all but the first hold the float32 network.
        batch: Crops that a graph takes at once.
        calibrate: As `export.calibration.calibration` takes it.
        seed: Decides which crops calibrate.
        data_dir: Folder of prepared sets; None = TFDS's own.
        limits: What quantising may cost.
        force: Write graphs that are not good enough, marked as failed.
    """

    recipes: Sequence[str] = ("float32", "static_wi8_ai8")
    formats: Sequence[str] = ("tflite",)
    batch: int = 1
    calibrate: str = ""
    seed: int = 0
    data_dir: str | None = None
    limits: Limits = field(default_factory=Limits)
    force: bool = False


@dataclass(frozen=True)
class Made:
    """Holds what was made, and what was found of it.

    Args:
        name: Its recipe, or its format if that is not TFLite.
        file: What it will be called.
        content: The graph; where a format is a folder, that folder.
        size: Bytes.
        runner: Runs it.
        parity: How it compares with the network.
        objection: Why it must not be used; empty if it may.
        kept: The layers that it keeps in float32.
    """

    name: str
    file: str
    content: bytes | Path
    size: int
    runner: Runner
    parity: Parity
    objection: str
    kept: Sequence[Kept] = ()


def export(run: TrainedRun, out: Path, wishes: Wishes) -> None:
    """Converts, quantises, verifies, and only then writes.

    Args:
        run: The run to export.
        out: Folder to write to; made if need be.
        wishes: What is to be made of it.

    Raises:
        ValueError: If a graph cannot be made or is not good enough; nothing is written then.
    """
    with ctrl_c() as check:

        def say(line: str) -> None:
            check()
            print(line, flush=True)

        say(f"Loading {run.folder / run.model_file}")
        model = run.network()
        if wishes.calibrate:
            say(f"Looking for crops in {wishes.calibrate}")
        shown = calibration(
            wishes.calibrate,
            run,
            lambda crops: read_intensities(run, model, crops),
            seed=wishes.seed,
            data_dir=wishes.data_dir,
        )
        with tempfile.TemporaryDirectory() as folder:
            made = _make(run, model, shown, wishes, Path(folder), say)
            check()
            _write(run, shown, made, wishes, out)
    print(f"\n{card.files_table(made)}\n\n{card.units_table(made)}\n")
    for one in made:
        if one.kept:
            print(f"{card.kept_table(one)}\n")
    for one in made:
        failed = f"\n  FAILED: {one.objection}" if one.objection else ""
        print(f"{out / one.file}  {one.parity.ms_per_crop:.2f} ms per crop on one thread{failed}")
    print(out / f"{_stem(run, wishes)}.md")


def _make(
    run: TrainedRun,
    model: keras.Model,
    shown: Calibration,
    wishes: Wishes,
    folder: Path,
    say: Callable[[str], None],
) -> list[Made]:
    """Makes all that is wished, and compares it with the network."""
    size, batch, stem = run.config.crop_size, wishes.batch, _stem(run, wishes)
    verify = Verifier(run, model, run.test, batch)
    made: list[Made] = []

    def judge(name: str, file: str, content: bytes | Path, runner: Runner, *kept: Kept) -> None:
        say(f"{name}: comparing it with the network on {len(run.test)} crops")
        parity = verify(runner)
        objection = parity.objection(name, wishes.limits)
        if objection and not wishes.force:
            raise ValueError(f"{objection} {_remedy(name, run)}")
        made.append(Made(name, file, content, _bytes(content), runner, parity, objection, kept))

    if "tflite" in wishes.formats:
        say("Converting")
        quantizer = Quantizer(convert(model, size, batch), {"image": shown.crops})
        held = Verifier(run, model, run.held, batch)
        for recipe in wishes.recipes:
            say(f"{recipe}: making it")
            graph, kept = quantize_selectively(quantizer, recipe, held, wishes.limits, say)
            check(graph, size, len(run.aus.point_names), stride=run.codec.stride, batch=batch)
            judge(recipe, f"{stem}_{recipe}.tflite", graph, Graph(graph), *kept)
    if "onnx" in wishes.formats:
        content = formats.onnx_graph(model, size, batch)
        judge("onnx", f"{stem}.onnx", content, formats.OnnxGraph(content))
    if "saved_model" in wishes.formats:
        place = folder / "saved_model"
        formats.save_saved_model(model, place, size, batch)
        judge("saved_model", f"{stem}_saved_model", place, formats.SavedModelGraph(place))
    return made


def _write(
    run: TrainedRun, shown: Calibration, made: Sequence[Made], wishes: Wishes, out: Path
) -> None:
    """Writes everything under other names before anything gets its own: all or nothing."""
    out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as unfinished:

        def begin(name: str) -> Path:
            return unfinished.enter_context(whole_file(out / name))

        for one in made:
            if isinstance(one.content, Path):
                shutil.copytree(one.content, unfinished.enter_context(whole_folder(out / one.file)))
            elif one.name in RECIPES:
                bundle = _bundle(run, shown, one, one.content, wishes.batch)
                path = begin(one.file)
                path.write_bytes(bundle.content(one.content))
                check_file(path, one.runner, run.test, wishes.batch)
                twin = begin(str(Path(one.file).with_suffix(".json")))
                twin.write_text(bundle.to_json(one.content))
            else:
                begin(one.file).write_bytes(one.content)
        begin(f"{_stem(run, wishes)}.md").write_text(card.describe(run, made, shown))


def _bundle(
    run: TrainedRun, shown: Calibration, made: Made, graph: bytes, batch: int
) -> EdgeBundle:
    """Describes a graph."""
    return EdgeBundle(
        run.aus,
        run.config.crop_size,
        made.name,
        stride=run.codec.stride,
        sigma=run.codec.sigma,
        expected_error=made.parity.expected_error,
        batch=batch,
        kept=[kept.layer for kept in made.kept],
        calibration=shown.describe() if RECIPES[made.name].calibrated else {},
        provenance=_provenance(run),
        measured={"passed": not made.objection, **made.parity.describe()},
        golden=golden(graph, made.name, run.config.crop_size, batch=batch, mixed=bool(made.kept)),
    )


def _provenance(run: TrainedRun) -> dict[str, Any]:
    """Says where the weights come from and who may use them."""
    tools, config = ("tensorflow", "keras", "ai-edge-quantizer"), run.config
    further = {
        "fine_tuned_from": Path(config.finetune).name,
        "learnt_rounding_for": config.quantize,
    }
    return {
        **run.provenance,
        "use": run.use,
        "run": run.name,
        "network": {
            "kind": config.network,
            "backbone": config.backbone,
            "started_from": Path(config.weights).name if config.weights else "random weights",
            **{key: value for key, value in further.items() if value},
            "decoder_filters": list(config.decoder_filters),
            "graph_levels": list(config.graph_levels),
        },
        "exported_with": {"tfau": __version__, **{tool: version(tool) for tool in tools}},
    }


def _remedy(name: str, run: TrainedRun) -> str:
    says = "Nothing is written; --force would, marked as failed."
    if name in RECIPES and RECIPES[name].calibrated:
        says += f" `python -m tfau.train --finetune {run.folder} --quantize {name}` may mend it."
    return says


def _stem(run: TrainedRun, wishes: Wishes) -> str:
    return run.name if wishes.batch == 1 else f"{run.name}_b{wishes.batch}"


def _bytes(content: bytes | Path) -> int:
    if isinstance(content, bytes):
        return len(content)
    return sum(file.stat().st_size for file in content.rglob("*") if file.is_file())
