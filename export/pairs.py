"""The export of a pair network: from its run to verified files that say what they are."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from edge.runtime import AUModel, Graph
from export.golden import face
from export.quantize import RECIPES, Quantizer
from export.verify import MAX_FLOAT_ERROR, Limits
from tfau import __version__
from tfau.core import EdgeBundle, Golden
from tfau.core.action_units import INTENSITY_MAX, AUSet
from tfau.core.agreement import bootstrap_difference, icc, mae, pcc
from tfau.core.errors import ctrl_c
from tfau.core.files import whole_file
from tfau.models.pair_net import AUPairNet
from tfau.pairs import MAIN_UNITS
from tfau.pairs.learning import PairRun, answers, features_of
from tfau.pairs.lessons import Lessons

Floats = npt.NDArray[np.float32]
MODES = {"plain": False, "calibrated": True}

_FINE = r"""(?x)
    /standard\w*/                           # coordinates, before they count from their mean
    | /Softplus                             # expected errors
    | (^|;)both_ways(_\d+)?/[^/;]*(;|$)     # the mirror image on its way in, the mean of both
    | ^StatefulPartitionedCall              # the last step of that
"""
"""Names of operations that 8 bits are too coarse for."""

_TOLERANCE = 0.15
"""Most by which an 8-bit answer may differ elsewhere: tflite-runtime 2.14 rounds amid a network in
another way, and of 437 portraits said at most .12 more or less of a unit, .008 on average. Swapped
colours, or a mesh a tenth too large, change the golden answer of the free weights by .47 and more.
"""


@dataclass(frozen=True)
class Made:
    """Holds a graph and what was found of it.

    Args:
        recipe: A row of `RECIPES`.
        graph: The flatbuffer.
        scores: Mode -> metric -> unit, and their `mean`.
        lost: Mode -> unit -> ICC lost, low, high.
        apart: Largest difference of an intensity from the network.
        ms: Median time of a crop on one thread.
        objection: Why it must not be used; empty if it may.
    """

    recipe: str
    graph: bytes
    scores: dict[str, dict[str, dict[str, float]]]
    lost: dict[str, dict[str, tuple[float, float, float]]]
    apart: float
    ms: float
    objection: str


def convert(net: AUPairNet, aus: AUSet) -> bytes:
    """Converts a pair network to a float32 TFLite graph of one crop and its mirror image."""
    both = net.both_ways(aus.flip_index)
    signature = {
        name: keras.InputSpec(shape=tensor.shape, dtype="float32", name=name)
        for name, tensor in both.input.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.tflite"
        both.export(
            path,
            format="litert",
            input_signature=[signature],
            verbose=False,
            target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]},
        )
        return path.read_bytes()


def export_pair(
    run: PairRun,
    out: Path,
    recipes: Sequence[str] = ("float32", "static_wi8_ai8"),
    limits: Limits | None = None,
    *,
    force: bool = False,
) -> None:
    """Converts, quantises, verifies, and only then writes.

    Args:
        run: A finished run.
        out: Folder to write to; made if need be.
        recipes: Rows of `RECIPES`.
        limits: What quantising may cost.
        force: Write graphs that are not good enough, marked as failed.

    Raises:
        ValueError: If a graph cannot be made or is not good enough; nothing is written then.
    """
    with ctrl_c() as check:

        def say(line: str) -> None:
            check()
            print(line, flush=True)

        say(f"Loading {run.folder / 'model.keras'}")
        net, shown, test = run.model(), run.evidence("calibration"), run.evidence("test")
        features = [features_of(net, way) for way in (shown, shown.mirrored())]
        neutral = np.hstack(features)[np.maximum(shown.rest_of(), 0)]
        neutral[::3] = 0  # a third of the people is not known
        say("Converting")
        quantizer = Quantizer(
            convert(net, run.aus),
            {"image": shown.images, "mesh": shown.meshes, "neutral": neutral},
            _FINE,
        )
        before = {mode: answers(net, test, calibrated=on)[0] for mode, on in MODES.items()}
        made = []
        for recipe in recipes:
            say(f"{recipe}: making it, and comparing it with the network on {len(test)} crops")
            one = _judge(run, test, before, recipe, quantizer(recipe), limits or Limits())
            if one.objection and not force:
                raise ValueError(
                    f"{one.objection} Nothing is written; --force would, marked as failed."
                )
            made.append(one)
        out.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as unfinished:
            for one in made:
                path = unfinished.enter_context(
                    whole_file(out / f"{run.config.name}_{one.recipe}.tflite")
                )
                path.write_bytes(_bundle(run, shown, test, one).content(one.graph))
                AUModel(path).self_test()
            card = unfinished.enter_context(whole_file(out / f"{run.config.name}.md"))
            card.write_text(describe(run, test, before, made))
    print(describe(run, test, before, made))


def ask(graph: Callable[..., dict[str, Floats]], lessons: Lessons, width: int) -> dict[str, Floats]:
    """Asks a graph about every example, plain and calibrated, as the edge does.

    Args:
        graph: Takes one crop at a time.
        lessons: N examples.
        width: Features of a person.

    Returns:
        Mode -> (N, P) intensities, cut off at 0 and 5; `ms` -> median milliseconds.
    """

    def one(row: int, neutral: Floats) -> dict[str, Floats]:
        image = lessons.images[row][None].astype(np.float32)
        return graph(image=image, mesh=lessons.meshes[row][None], neutral=neutral[None])

    unknown = np.zeros(width, np.float32)
    times, plain, calibrated = [], [], []
    features: dict[int, Floats] = {-1: unknown}
    for row in range(len(lessons)):
        started = time.perf_counter()
        plain.append(one(row, unknown))
        times.append(time.perf_counter() - started)
        features[row] = plain[-1]["features"][0]
    for row, rest in enumerate(lessons.rest_of().tolist()):
        calibrated.append(one(row, features[rest]))
    found = {
        name: np.concatenate([a["intensity"] for a in said]).clip(0, INTENSITY_MAX)
        for name, said in (("plain", plain), ("calibrated", calibrated))
    }
    return {**found, "ms": np.array(1e3 * np.median(times), np.float32)}


def _judge(
    run: PairRun,
    test: Lessons,
    before: dict[str, Floats],
    recipe: str,
    graph: bytes,
    limits: Limits,
) -> Made:
    aus, runner = run.aus, Graph(graph)
    said = ask(runner, test, runner.inputs["neutral"][1])
    truth = aus.pool(test.levels)
    lost, scores, objection, apart = {}, {}, "", 0.0
    for mode, was in before.items():
        apart = max(apart, float(np.abs(said[mode] - was).max()))
        old, new = aus.pool(was), aus.pool(said[mode])
        scores[mode] = score(aus.numbers, truth, new)
        gap = bootstrap_difference(truth, new, old, test.subject, ("ICC",))["ICC"]
        lost[mode] = {
            unit: (value, low, high)
            for unit, value, low, high in zip(
                (*aus.names, "mean"), gap.value, gap.low, gap.high, strict=True
            )
        }
        reason = limits.objection({unit: loss for unit, (loss, _, _) in lost[mode].items()})
        if recipe == "float32":
            reason = (
                "" if apart <= 10 * MAX_FLOAT_ERROR else f"must answer alike; {apart:.1e} apart"
            )
        objection = objection or (reason and f"{recipe} ({mode}) {reason}.")
    return Made(recipe, graph, scores, lost, apart, float(said["ms"]), objection)


def score(
    numbers: Sequence[int], truth: npt.NDArray[Any], seen: npt.NDArray[Any]
) -> dict[str, dict[str, float]]:
    """Scores (N, A) intensities: metric -> unit, and the mean over `MAIN_UNITS`."""
    found = {}
    for name, metric in (("icc", icc), ("mae", mae), ("pcc", pcc)):
        values = dict(zip(numbers, metric(truth, seen).tolist(), strict=True))
        found[name] = {f"AU{unit:02d}": value for unit, value in values.items()}
        main = [values[unit] for unit in MAIN_UNITS if unit in values]
        found[name]["mean"] = float(np.nanmean(main))
    return found


def _bundle(run: PairRun, shown: Lessons, test: Lessons, made: Made) -> EdgeBundle:
    """Describes a graph."""
    config, graph = run.config, Graph(made.graph)
    image, mesh = face(config.crop_size), shown.meshes[0].astype(np.float32)
    width = graph.inputs["neutral"][1]
    answer = graph(
        image=image[None].astype(np.float32),
        mesh=mesh[None],
        neutral=np.zeros((1, width), np.float32),
    )["intensity"]
    digest = hashlib.sha256(shown.images.tobytes() + shown.meshes.tobytes()).hexdigest()
    rounded = {
        f"{metric}_{mode}": {unit: round(value, 3) for unit, value in values.items()}
        for mode, metrics in made.scores.items()
        for metric, values in metrics.items()
    }
    tools = ("tensorflow", "keras", "ai-edge-quantizer")
    return EdgeBundle(
        run.aus,
        config.crop_size,
        made.recipe,
        features=width,
        calibration={"source": "training people", "crops": len(shown), "sha256": digest}
        if RECIPES[made.recipe].calibrated
        else {},
        provenance={
            **run.provenance(),
            "exported_with": {"tfau": __version__, **{tool: version(tool) for tool in tools}},
        },
        measured={
            "passed": not made.objection,
            "crops": len(test),
            "people": len(np.unique(test.subject)),
            "mean_over": [f"AU{unit:02d}" for unit in MAIN_UNITS],
            **rounded,
        },
        golden=Golden(image, answer[None], 1, RECIPES[made.recipe].tolerance or _TOLERANCE, mesh),
    )


def describe(run: PairRun, test: Lessons, before: dict[str, Floats], made: Sequence[Made]) -> str:
    """Writes what was measured, as Markdown."""
    truth = run.aus.pool(test.levels)
    heads = ["AU", *(f"network, {mode}" for mode in MODES)]
    heads += [f"{one.recipe}, {mode}" for one in made for mode in MODES]
    network = {m: score(run.aus.numbers, truth, run.aus.pool(was)) for m, was in before.items()}
    rows = []
    for unit in (*run.aus.names, "mean"):
        cells = [network[mode]["icc"][unit] for mode in MODES]
        cells += [one.scores[mode]["icc"][unit] for one in made for mode in MODES]
        rows.append([unit, *(f"{value:.3f}" for value in cells)])
    table = [heads, ["---"] * len(heads), *rows]
    lines = [f"| {' | '.join(row)} |" for row in table]
    files = []
    for one in made:
        lost = ", ".join(
            "{} {:.3f} [{:.3f}, {:.3f}]".format(mode, *one.lost[mode]["mean"]) for mode in MODES
        )
        failed = f". FAILED: {one.objection}" if one.objection else ""
        files.append(
            f"- `{run.config.name}_{one.recipe}.tflite`: {len(one.graph) / 1e6:.2f} MB, "
            f"{one.ms:.2f} ms a crop on one thread, at most {one.apart:.2g} from the network; "
            f"ICC lost {lost}{failed}"
        )
    people = len(np.unique(test.subject))
    return "\n".join(
        [
            f"# {run.config.name}",
            "",
            (
                f"ICC(3,1) on {len(test)} crops of {people} rendered people unseen; the mean is "
                f"over AU {', '.join(map(str, MAIN_UNITS))}. Calibrated: with the person at rest."
            ),
            "",
            *files,
            "",
            *lines,
            "",
        ]
    )
