"""What `python -m export` makes of a run, and what it refuses."""

import contextlib
import io
import json
import os
import shutil
import signal
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from edge.runtime import AUModel, Graph
from export.__main__ import main
from export.litert import check, convert
from export.quantize import RECIPES, Quantizer
from export.trained_run import TrainedRun
from export.verify import Limits, Parity, Verifier
from tfau.core import EdgeBundle
from tfau.core.errors import run_cli
from tfau.core.uncertainty import expected_error


@pytest.fixture(scope="session")
def run(run_folder: Path) -> TrainedRun:
    return TrainedRun.read(run_folder)


@pytest.fixture(scope="session")
def network(run: TrainedRun) -> keras.Model:
    return run.network()


def graph_of(folder: Path, recipe: str) -> bytes:
    return EdgeBundle.open(folder / f"blobs_{recipe}.tflite")[1]


def tfau_json(path: Path) -> dict:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("tfau.json"), parse_constant=refuse)


# The graphs


def test_float32_bundle_equals_the_network(
    exported: Path, run: TrainedRun, network: keras.Model
) -> None:
    answer = AUModel(exported / "blobs_float32.tflite")(run.test.images[:8])["heatmaps"]
    expected = network.predict(run.test.images[:8].astype(np.float32), verbose=0)["heatmaps"]
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(answer, expected, atol=1e-4)


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != "float32"])
def test_quantised_bundles_read_like_the_network(
    exported: Path, run: TrainedRun, network: keras.Model, recipe: str
) -> None:
    path = exported / f"blobs_{recipe}.tflite"
    expected = network.predict(run.test.images.astype(np.float32), verbose=0)["heatmaps"]
    answers = (expected, AUModel(path)(run.test.images)["heatmaps"])
    before, after = (run.codec.decode(maps)[..., 2] for maps in answers)
    assert np.abs(before - after).max() > 0
    for point in range(4):
        assert np.corrcoef(before[:, point], after[:, point])[0, 1] > 0.99
    # The shares are of the weights; a small network has much beside them.
    share = RECIPES[recipe].size + 0.15
    assert path.stat().st_size < share * (exported / "blobs_float32.tflite").stat().st_size


@pytest.mark.parametrize("recipe", RECIPES)
def test_graphs_have_built_in_operations_and_float32_ends(exported: Path, recipe: str) -> None:
    check(graph_of(exported, recipe), crop_size=64, channels=6)


def test_static_wi8_ai8_multiplies_integers_only(exported: Path) -> None:
    model = schema.ModelT.InitFromPackedBuf(graph_of(exported, "static_wi8_ai8"))
    (subgraph,) = model.subgraphs
    multiply = {
        getattr(schema.BuiltinOperator, name)
        for name in ("CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL")
    }
    seen = 0
    for operator in subgraph.operators:
        if model.operatorCodes[operator.opcodeIndex].builtinCode in multiply:
            types = {subgraph.tensors[i].type for i in operator.outputs}
            assert types == {schema.TensorType.INT8}
            seen += 1
    assert seen >= 14 + 3 + 6


def test_batch_normalisation_folds_into_every_convolution(exported: Path) -> None:
    model = schema.ModelT.InitFromPackedBuf(graph_of(exported, "float32"))
    codes = [code.builtinCode for code in model.operatorCodes]
    (subgraph,) = model.subgraphs
    multiplications = [
        operator
        for operator in subgraph.operators
        if codes[operator.opcodeIndex] == schema.BuiltinOperator.MUL
    ]
    # One scales the pixels; a channel graph may need up to three.
    assert len(multiplications) <= 1 + 3 * 3


def test_the_same_run_gives_the_same_bytes(
    exported: Path, run: TrainedRun, network: keras.Model
) -> None:
    graph = convert(network, crop_size=64)
    assert graph == graph_of(exported, "float32")
    quantised = Quantizer(graph, {"image": run.calibration})("static_wi8_ai8")
    assert quantised == graph_of(exported, "static_wi8_ai8")


def test_an_operation_that_is_not_built_in_is_refused() -> None:
    image = keras.Input((64, 64, 3), name="image")
    maps = keras.layers.AveragePooling2D(4)(image)
    maps = keras.layers.Lambda(tf.math.erfinv, output_shape=(16, 16, 3))(maps)
    with pytest.raises(ValueError, match=r"no built-in operation for tf\.Erfinv"):
        convert(keras.Model(image, {"heatmaps": maps}), crop_size=64)


def test_check_refuses_other_ends(exported: Path) -> None:
    with pytest.raises(ValueError, match="Received:"):
        check(graph_of(exported, "float32"), crop_size=64, channels=5)


def test_check_refuses_a_custom_operation(exported: Path) -> None:
    import flatbuffers

    model = schema.ModelT.InitFromPackedBuf(graph_of(exported, "float32"))
    model.operatorCodes[0].builtinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[0].customCode = "FlexErfinv"
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    with pytest.raises(ValueError, match="FlexErfinv"):
        check(bytes(builder.Output()), crop_size=64, channels=6)


# What is said of them


@pytest.mark.parametrize("recipe", RECIPES)
def test_description_travels_inside(exported: Path, run: TrainedRun, recipe: str) -> None:
    path = exported / f"blobs_{recipe}.tflite"
    bundle, described = EdgeBundle.read(path), tfau_json(path)
    assert (bundle.aus, bundle.crop_size, bundle.recipe) == (run.aus, 64, recipe)
    assert bundle.codec.decode(bundle.codec.encode(run.test.points[:1, :4])).shape == (1, 4, 3)
    assert described["provenance"]["licence"] == "CC0"
    assert described["provenance"]["exported_with"]["keras"] == keras.__version__
    measured = described["measured"]
    assert measured["passed"] is True
    assert measured["crops"] == 60
    assert measured["crops_apart"] == (0 if recipe == "float32" else 60)
    assert measured["icc"]["mean"] > 0.5
    assert measured["icc"]["AU45"] is None  # not coded


def test_expected_errors_are_those_of_the_test_crops(exported: Path, run: TrainedRun) -> None:
    model = AUModel(exported / "blobs_static_wi8_ai8.tflite")
    intensity = run.aus.pool(run.codec.decode(model(run.test.images)["heatmaps"])[..., 2]).clip(
        0, 5
    )
    error = np.abs(intensity - run.aus.pool(run.test.points[..., 2]))
    expected = expected_error(intensity, model.bundle.error_table)
    assert np.isnan(expected[:, 2]).all()  # not coded
    assert expected[:, :2].mean() == pytest.approx(error[:, :2].mean(), rel=0.15)


def test_card_names_every_file_and_figure(exported: Path) -> None:
    card = (exported / "blobs.md").read_text()
    for word in (*(f"blobs_{recipe}.tflite" for recipe in RECIPES), "AU12", "CC0", "60 crops"):
        assert word in card
    assert "nan" not in card


def test_nothing_else_is_written(exported: Path) -> None:
    expected = {"blobs.md"}
    expected |= {f"blobs_{recipe}.{kind}" for recipe in RECIPES for kind in ("tflite", "json")}
    assert {path.name for path in exported.iterdir()} == expected


# The verdict


def parity(
    max_map_error: float = 5e-5, apart: int = 0, intensity: float = 1e-5, **loss: float
) -> Parity:
    """Makes the account of a graph that loses some ICC, by unit."""
    before = dict.fromkeys(loss, 0.8)
    after = {unit: 0.8 - lost for unit, lost in loss.items()}
    change = {unit: (-lost, -lost - 0.01, -lost + 0.01) for unit, lost in loss.items()}
    scores = {"ICC": before}, {"ICC": after}, {"ICC": change}
    return Parity(200, 3, apart, max_map_error, 1e-6, intensity, 1.0, *scores, [], 1.0)


@pytest.mark.parametrize(
    ("recipe", "found", "word"),
    [
        ("float32", parity(AU12=0.5, mean=0.5), ""),
        ("onnx", parity(2e-4, 3, AU12=0.0, mean=0.0), "onnx must answer as the network does"),
        ("float32", parity(2e-4, 3, AU12=0.0, mean=0.0), "in 3 of 200 crops"),
        ("float32", parity(2e-3, 2, 0.04, AU12=0.0, mean=0.0), ""),  # a tie of neighbours
        ("float32", parity(2e-3, 2, 0.06, AU12=0.0, mean=0.0), "2.0e-03"),
        ("float32", parity(float("nan"), 200, AU12=0.0, mean=0.0), "nan"),
        ("float32", parity(float("nan"), 1, float("nan"), AU12=0.0, mean=0.0), "nan"),
        ("static_wi8_ai8", parity(1.0, AU12=0.01, mean=0.01), ""),
        ("static_wi8_ai8", parity(AU12=0.02, mean=0.011), "0.011"),
        ("static_wi8_ai8", parity(AU12=0.04, AU25=-0.04, mean=0.0), "0.040 of AU12"),
        ("static_wi8_ai8", parity(AU12=0.02, mean=float("nan")), "nan"),
        ("static_wi8_ai8", parity(AU12=float("nan"), AU25=0.0, mean=0.0), ""),
    ],
)
def test_objection(recipe: str, found: Parity, word: str) -> None:
    objection = found.objection(recipe, Limits(0.01, 0.03))
    assert bool(objection) == bool(word)
    assert word in objection
    assert ("Received:" in objection) == bool(word)


def test_verifier_sees_a_wrong_graph(exported: Path, run: TrainedRun, network: keras.Model) -> None:
    other = keras.models.clone_model(network)
    other.set_weights([weight * 1.01 for weight in network.get_weights()])
    found = Verifier(run, other, run.test)(Graph(graph_of(exported, "float32")))
    assert found.max_map_error > 1e-3
    assert found.crops_apart == found.crops


class Forgetful:
    """Answers the same crop otherwise each time."""

    def __init__(self, graph: bytes) -> None:
        self.graph, self.calls = Graph(graph), 0

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        self.calls += 1
        return {"heatmaps": self.graph(image=image)["heatmaps"] + 1e-6 * self.calls}


def test_verifier_sees_a_graph_that_remembers(
    exported: Path, run: TrainedRun, network: keras.Model
) -> None:
    graph = Forgetful(graph_of(exported, "float32"))
    with pytest.raises(ValueError, match="differently the second time"):
        Verifier(run, network, run.test)(graph)


def test_changes_and_their_intervals(exported: Path, run: TrainedRun, network: keras.Model) -> None:
    found = Verifier(run, network, run.test)(Graph(graph_of(exported, "static_wi8_ai8")))
    assert set(found.change) == {"ICC", "MAE", "F1"}
    assert found.people == 12
    assert 0.9 < found.peaks_agree <= 1
    for metric, changes in found.change.items():
        assert np.isnan(changes["AU45"]).all()  # not coded
        for unit in ("AU12", "AU25", "mean"):
            change, low, high = changes[unit]
            assert low <= change <= high
            gap = found.graph[metric][unit] - found.network[metric][unit]
            assert change == pytest.approx(gap, abs=1e-12)


def cli(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """Runs the command line; returns its one sentence."""
    capsys.readouterr()
    assert run_cli(lambda _: main([str(word) for word in argv])) == 2
    error = capsys.readouterr().err
    assert error.startswith("tfau: ")
    assert error.count("\n") == 1
    return error


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_a_bad_quantisation_is_refused_unless_forced(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, limit = tmp_path / "out", ("--max-icc-loss", "-1")
    error = cli(capsys, run_folder, "-o", out, *limit)
    assert "static_wi8_ai8 must not lose" in error
    assert "--force" in error
    assert "--quantize static_wi8_ai8" in error
    assert not out.exists()

    main([str(run_folder), "-o", str(out), *limit, "--force"])
    assert "FAILED" in capsys.readouterr().out
    assert "**Failed: static_wi8_ai8 must not" in (out / "blobs.md").read_text()
    assert tfau_json(out / "blobs_static_wi8_ai8.tflite")["measured"]["passed"] is False
    assert tfau_json(out / "blobs_float32.tflite")["measured"]["passed"] is True


def test_layers_that_cannot_be_quantised_stay_in_float32(
    broken_run: Callable[..., Path],
    run: TrainedRun,
    evidence: Callable[[np.ndarray], dict[str, np.ndarray]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Black crops say nothing about the range of any activation.
    folder = broken_run(calibration_npz=npz(**evidence(np.zeros_like(run.calibration[:2]))))
    out = tmp_path / "out"
    main([str(folder), "-o", str(out), "--recipes", "static_wi8_ai8"])
    path = out / "blobs_static_wi8_ai8.tflite"
    described = tfau_json(path)
    kept, measured = described["kept"], described["measured"]
    assert (
        0
        < len(kept)
        < len(Quantizer(graph_of(out, "static_wi8_ai8"), {"image": run.calibration}).layers)
    )
    assert measured["passed"] is True
    assert measured["icc_network"]["mean"] - measured["icc"]["mean"] <= 0.01
    said = capsys.readouterr().out
    assert f"keeps {', '.join(kept)} in float32" in said
    for text in (said, (out / "blobs.md").read_text()):
        for layer in kept:
            assert f"| {layer} " in text
    model = AUModel(path)
    assert model.self_test() <= model.bundle.golden.tolerance


def test_an_unequal_float32_graph_is_refused(
    run_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("export.verify.MAX_FLOAT_ERROR", 0.0)
    error = cli(capsys, run_folder, "-o", tmp_path / "out", "--recipes", "float32")
    assert "in 60 of 60 crops" in error
    assert "Nothing is written" in error
    assert not (tmp_path / "out").exists()


# Other shapes and formats


@pytest.fixture(scope="session")
def in_batches(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("batches")
    main([str(run_folder), "-o", str(out), "--batch", "4"])
    return out


@pytest.mark.parametrize("recipe", ["float32", "static_wi8_ai8"])
def test_a_graph_for_servers_takes_several_crops(
    exported: Path, in_batches: Path, run: TrainedRun, recipe: str
) -> None:
    path = in_batches / f"blobs_b4_{recipe}.tflite"
    model, crops = AUModel(path), run.test.images[:10]
    assert model.bundle.batch == 4
    together = model(crops)["heatmaps"]
    alone = AUModel(exported / f"blobs_{recipe}.tflite")(crops)["heatmaps"]
    assert np.abs(together - alone).max() <= (1e-4 if recipe == "float32" else 0.3)
    assert np.array_equal(model(crops[::-1])["heatmaps"][::-1], together)
    assert model.self_test() <= model.bundle.golden.tolerance


def test_other_formats_are_verified_too(
    run_folder: Path, run: TrainedRun, network: keras.Model, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    from export.formats import OnnxGraph, SavedModelGraph

    main([str(run_folder), "-o", str(tmp_path), "--formats", "onnx,saved_model"])
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {"blobs.onnx", "blobs_saved_model", "blobs.md"}
    image = run.test.images[:1].astype(np.float32)
    expected = network.predict(image, verbose=0)["heatmaps"]
    for graph in (
        OnnxGraph((tmp_path / "blobs.onnx").read_bytes()),
        SavedModelGraph(tmp_path / "blobs_saved_model"),
    ):
        np.testing.assert_allclose(graph(image=image)["heatmaps"], expected, atol=1e-4)
    card = (tmp_path / "blobs.md").read_text()
    assert "`blobs.onnx`: as trained, float32" in card
    assert "60 crops of 12 people" in card


def test_a_keras_file_of_a_run_can_be_named(
    run_folder: Path, exported: Path, tmp_path: Path
) -> None:
    words = [str(run_folder / "model.keras"), "-o", str(tmp_path), "--recipes", "float32"]
    main(words)
    assert graph_of(tmp_path, "float32") == graph_of(exported, "float32")


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_twin_says_what_is_inside(exported: Path, recipe: str) -> None:
    path = exported / f"blobs_{recipe}.tflite"
    assert json.loads(path.with_suffix(".json").read_text()) == tfau_json(path)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_file_tests_itself(exported: Path, recipe: str) -> None:
    model = AUModel(exported / f"blobs_{recipe}.tflite")
    golden = model.bundle.golden
    assert model.self_test() == 0
    assert golden.answer.shape == (4, 4, 6)
    if recipe == "static_wi8_ai8":  # one step of the output, of which there are 255
        assert 0.01 < golden.tolerance < 0.2
    else:
        assert golden.tolerance == RECIPES[recipe].tolerance


# Bad input


@pytest.mark.parametrize("full_at", ["blobs_static_wi8_ai8.tflite", "blobs.md"])
def test_a_full_disk_leaves_what_was_there(
    run_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    full_at: str,
) -> None:
    (tmp_path / "blobs_float32.tflite").write_text("from before")

    def full(write: Callable[..., int]) -> Callable[..., int]:
        def writing(path: Path, content: Any, *rest: Any, **options: Any) -> int:
            if path.name == f".{full_at}":
                write(path, content[:100])
                raise OSError(28, "No space left on device", str(path))
            return write(path, content, *rest, **options)

        return writing

    for name in ("write_bytes", "write_text"):
        monkeypatch.setattr(Path, name, full(getattr(Path, name)))
    error = cli(capsys, run_folder, "-o", tmp_path)
    assert "No space left on device" in error
    assert [path.name for path in tmp_path.iterdir()] == ["blobs_float32.tflite"]
    assert (tmp_path / "blobs_float32.tflite").read_text() == "from before"


def test_ctrl_c_that_a_library_loses_still_ends_it(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def losing(*words: Any) -> bytes:
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        return convert(*words)

    monkeypatch.setattr("export.exporter.convert", losing)
    with pytest.raises(KeyboardInterrupt):
        main([str(run_folder), "-o", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_network_that_needs_foreign_code(
    broken_run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Foreign(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs

    image = keras.Input((64, 64, 3))
    for number, layer in enumerate((Foreign(), keras.layers.Lambda(lambda x: x))):
        path = tmp_path / f"{number}.keras"
        keras.Model(image, layer(image)).save(path)
        if number:
            shutil.rmtree(tmp_path / "broken")
        assert "cannot be read" in cli(capsys, broken_run(model_keras=path.read_bytes()))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--batch", "0"], "`--batch` must lie in 1 to 1024"),
        (["--formats", "tflite,coreml"], "no format 'coreml'"),
        (["--recipes", ""], "no recipe ''"),
        (["--max-icc-loss", "nan"], "`--max-icc-loss` must be a number"),
        (["--calibrate", "no_such_set"], "no_such_set"),
    ],
)
def test_a_bad_word(
    run_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    sentence: str,
) -> None:
    out = tmp_path / "out"
    assert sentence in cli(capsys, run_folder, "-o", out, *words)
    assert not out.exists()


def test_a_run_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no run folder" in cli(capsys, tmp_path / "nowhere")
    assert "config" in cli(capsys, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({"model_keras": None}, "no model.keras"),
        ({"model_keras": b""}, "model.keras cannot be read"),
        ({"model_keras": b"no network"}, "model.keras cannot be read"),
        ({"model_keras": npz(weights=np.zeros(3))}, "model.keras cannot be read"),
        ({"calibration_npz": None}, "no calibration.npz"),
        ({"calibration_npz": b""}, "calibration.npz cannot be read"),
        ({"calibration_npz": b"PK\x03\x04"}, "calibration.npz cannot be read"),
        ({"calibration_npz": npz(images=np.zeros(3))}, "calibration.npz cannot be read"),
        ({"provenance_json": b"[1"}, "provenance.json cannot be read"),
        ({"config_json": b"{}"}, "config"),
    ],
)
def test_a_damaged_run(
    broken_run: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    files: dict[str, bytes | None],
    word: str,
) -> None:
    folder = broken_run(**files)
    before = sorted(folder.iterdir())
    assert word in cli(capsys, folder)
    assert sorted(folder.iterdir()) == before


def test_a_cut_off_model(
    broken_run: Callable[..., Path], run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = (run_folder / "model.keras").read_bytes()[:100_000]
    assert "cannot be read" in cli(capsys, broken_run(model_keras=half))


def test_a_network_without_maps(
    broken_run: Callable[..., Path], run: TrainedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(run.config, network="presence").to_json().encode()
    said = cli(capsys, broken_run(config_json=config))
    assert "a network of the kind presence; only heatmap networks can be exported" in said


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("images", np.zeros((2, 32, 32, 3), np.uint8)),
        ("images", np.zeros((0, 64, 64, 3), np.uint8)),
        ("held_points", np.zeros((60, 5, 3), np.float32)),
        ("test_subjects", np.array(["one"])),
    ],
)
def test_crops_of_another_shape(
    broken_run: Callable[..., Path],
    evidence: Callable[[np.ndarray], dict[str, np.ndarray]],
    run: TrainedRun,
    capsys: pytest.CaptureFixture[str],
    name: str,
    array: np.ndarray,
) -> None:
    content = npz(**evidence(run.calibration) | {name: array})
    assert f"`{name}` of" in cli(capsys, broken_run(calibration_npz=content))


def test_a_network_of_another_config(
    broken_run: Callable[..., Path],
    evidence: Callable[[np.ndarray], dict[str, np.ndarray]],
    run: TrainedRun,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arrays = evidence(run.calibration)
    for part in ("test", "held"):
        arrays[f"{part}_points"] = arrays[f"{part}_points"][:, :4]
    folder = broken_run(calibration_npz=npz(**arrays))
    (folder / "config.json").write_text(replace(run.config, aus=(12, 25)).to_json())
    assert "not the network" in cli(capsys, folder)


def test_wrong_arguments(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = cli(capsys, run_folder, "--recipes", "float32,int8")
    assert "no recipe 'int8'" in error
    (tmp_path / "file").touch()
    assert "must be a folder" in cli(capsys, run_folder, "-o", tmp_path / "file")


def test_a_missing_extra_is_named(
    run_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    assert "tfau[export]" in cli(capsys, run_folder)
