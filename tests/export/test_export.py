"""What `python -m export` makes of a run, and what it refuses."""

import io
import json
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from edge.runtime import AUModel
from export.__main__ import main
from export.litert import check, convert
from export.quantize import RECIPES, quantize
from export.trained_run import TrainedRun
from export.verify import Parity, Verifier
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
    answer = AUModel(exported / "blobs_float32.tflite")(run.crops[:8])["heatmaps"]
    expected = network.predict(run.crops[:8].astype(np.float32), verbose=0)["heatmaps"]
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(answer, expected, atol=1e-4)


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != "float32"])
def test_quantised_bundles_read_like_the_network(
    exported: Path, run: TrainedRun, network: keras.Model, recipe: str
) -> None:
    path = exported / f"blobs_{recipe}.tflite"
    expected = network.predict(run.crops.astype(np.float32), verbose=0)["heatmaps"]
    answers = (expected, AUModel(path)(run.crops)["heatmaps"])
    before, after = (run.codec.decode(maps)[..., 2] for maps in answers)
    assert np.abs(before - after).max() > 0
    for point in range(4):
        assert np.corrcoef(before[:, point], after[:, point])[0, 1] > 0.99
    share = 0.55 if recipe == "float16" else 0.4
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
    quantised = quantize(graph, "static_wi8_ai8", run.calibration)
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
    assert bundle.codec.decode(bundle.codec.encode(run.points[:1, :4])).shape == (1, 4, 3)
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
    intensity = run.aus.pool(run.codec.decode(model(run.crops)["heatmaps"])[..., 2]).clip(0, 5)
    error = np.abs(intensity - run.aus.pool(run.points[..., 2]))
    expected = expected_error(intensity, model.bundle.error_table)
    assert np.isnan(expected[:, 2]).all()  # not coded
    assert expected[:, :2].mean() == pytest.approx(error[:, :2].mean(), rel=0.15)


def test_card_names_every_file_and_figure(exported: Path) -> None:
    card = (exported / "blobs.md").read_text()
    for word in (*(f"blobs_{recipe}.tflite" for recipe in RECIPES), "AU12", "CC0", "60 crops"):
        assert word in card
    assert "nan" not in card


def test_nothing_else_is_written(exported: Path) -> None:
    expected = {"blobs.md", *(f"blobs_{recipe}.tflite" for recipe in RECIPES)}
    assert {path.name for path in exported.iterdir()} == expected


# The verdict

PARITY = Parity(
    9, 0, 5e-5, 1e-6, 1e-5, {"AU12": 0.8, "mean": 0.8}, {"AU12": 0.79, "mean": 0.79}, [], 1.0
)


@pytest.mark.parametrize(
    ("recipe", "parity", "objected"),
    [
        ("float32", PARITY, False),
        ("float32", replace(PARITY, max_map_error=2e-4), True),
        ("float32", replace(PARITY, max_map_error=float("nan")), True),
        ("static_wi8_ai8", PARITY, False),
        ("static_wi8_ai8", replace(PARITY, icc={"AU12": 0.7, "mean": 0.7}), True),
        ("static_wi8_ai8", replace(PARITY, icc={"AU12": 0.7, "mean": float("nan")}), True),
    ],
)
def test_objection(recipe: str, parity: Parity, objected: bool) -> None:
    objection = parity.objection(recipe, max_icc_loss=0.02)
    assert bool(objection) == objected
    assert ("Received:" in objection) == objected


def test_verifier_sees_a_wrong_graph(exported: Path, run: TrainedRun, network: keras.Model) -> None:
    other = keras.models.clone_model(network)
    other.set_weights([weight * 1.01 for weight in network.get_weights()])
    parity = Verifier(run, other)(graph_of(exported, "float32"))
    assert parity.max_map_error > 1e-3
    assert parity.crops_apart == parity.crops


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
    broken_run: Callable[..., Path],
    run: TrainedRun,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Black crops say nothing about the range of any activation.
    black = np.zeros_like(run.calibration[:2])
    content = npz(images=black, test_images=run.crops, test_points=run.points)
    folder = broken_run(calibration_npz=content)
    out = tmp_path / "out"
    error = cli(capsys, folder, "-o", out)
    assert "static_wi8_ai8 must not lose" in error
    assert "--force" in error
    assert not out.exists()

    main([str(folder), "-o", str(out), "--force"])
    assert "FAILED" in capsys.readouterr().out
    assert "**Failed: static_wi8_ai8 must not" in (out / "blobs.md").read_text()
    assert tfau_json(out / "blobs_static_wi8_ai8.tflite")["measured"]["passed"] is False
    assert tfau_json(out / "blobs_float32.tflite")["measured"]["passed"] is True


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


# Bad input


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
        (
            {
                "calibration_npz": npz(
                    images=np.zeros((2, 32, 32, 3), np.uint8),
                    test_images=np.zeros((2, 64, 64, 3), np.uint8),
                    test_points=np.zeros((2, 6, 3), np.float32),
                )
            },
            "`images`",
        ),
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


def test_a_network_of_another_config(
    broken_run: Callable[..., Path], run: TrainedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = broken_run(
        calibration_npz=npz(
            images=run.calibration, test_images=run.crops, test_points=run.points[:, :4]
        )
    )
    (folder / "config.json").write_text(replace(run.config, aus=(12, 25)).to_json())
    assert "not the network" in cli(capsys, folder)


def test_wrong_arguments(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = cli(capsys, run_folder, "--recipes", "float32,int8")
    assert "Received: 'int8'" in error
    (tmp_path / "file").touch()
    assert "must be a folder" in cli(capsys, run_folder, "-o", tmp_path / "file")


def test_a_missing_extra_is_named(
    run_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    assert "tfau[export]" in cli(capsys, run_folder)
