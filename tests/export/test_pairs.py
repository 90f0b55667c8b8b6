"""A pair network on its way to the edge: the same answers, calibrated or not, in one file."""

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest

from edge.runtime import AUModel
from export.__main__ import main
from export.pairs import ask
from tfau import checkpoints
from tfau.core import BundleError, EdgeBundle
from tfau.core.action_units import AUSet
from tfau.models import backbones
from tfau.models.pair_net import AUPairNet
from tfau.pairs.learning import PairConfig, PairRun, answers, network
from tfau.pairs.lessons import Lessons
from tfau.pairs.revival import revived

UNITS = (12, 25)
SIDE = 64


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of a network that has learnt nothing, on pictures of noise."""
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    people, each = 20, 4
    count = people * each
    levels = rng.uniform(0, 5, (count, 4)).astype(np.float32)
    levels[::each] = 0
    lessons = Lessons(
        AUSet(UNITS),
        rng.integers(0, 255, (count, SIDE, SIDE, 3), dtype=np.uint8),
        (rng.uniform(-1, 1, (468, 3)) + rng.normal(0, 0.003, (count, 468, 3))).astype(np.float32),
        levels,
        np.repeat(np.arange(people), each),
        np.tile(np.arange(each), people),
        np.repeat(["train", "test"], count // 2),
    )
    config = PairConfig("noise", aus=UNITS, crop_size=SIDE, backbone="tiny")
    run = PairRun(tmp_path_factory.mktemp("runs") / "noise", config)
    run.folder.mkdir()
    (run.folder / "config.json").write_text(json.dumps(dataclasses.asdict(config)))
    net = AUPairNet(backbones.tiny(SIDE), 4, name="noise")
    net.standardise(lessons.meshes)
    checkpoints.save(net, run.folder / "model.keras", [])
    run.finish(lessons, {"dataset": "noise", "licence": "CC0"})
    return run


@pytest.fixture(scope="module")
def out(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    recipes = "float32,float16,static_wi8_ai8"
    main([str(run.folder), "-o", str(folder), "--recipes", recipes, "--force"])
    return folder


def test_there_are_three_files_and_a_report(out):
    assert {path.name for path in out.iterdir()} == {
        "noise_float32.tflite",
        "noise_float16.tflite",
        "noise_static_wi8_ai8.tflite",
        "noise.md",
    }
    sizes = [len(EdgeBundle.open(path)[1]) for path in sorted(out.glob("*.tflite"))]
    assert sizes[0] < 0.55 * sizes[1]
    assert sizes[2] < 0.35 * sizes[1]
    report = (out / "noise.md").read_text()
    assert "AU12" in report
    assert "calibrated" in report


@pytest.mark.parametrize(
    ("recipe", "apart"), [("float32", 1e-3), ("float16", 0.05), ("static_wi8_ai8", 0.3)]
)
def test_the_edge_answers_as_the_network_does(run, out, recipe, apart):
    test, net = run.evidence("test"), run.model()
    model = AUModel(out / f"noise_{recipe}.tflite")
    width = model.bundle.features
    assert width == 2 * net.input["neutral"].shape[-1]
    said = ask(model._graph, test, width)
    for mode in ("plain", "calibrated"):
        expected = answers(net, test, calibrated=mode == "calibrated")[0]
        assert np.abs(said[mode] - expected).max() < apart
    assert np.abs(said["plain"] - said["calibrated"]).max() > 0.01
    assert model.self_test() == 0


def test_a_mirrored_face_swaps_sides_and_changes_nothing_else(run, out):
    test, model = run.evidence("test").part(np.arange(8)), AUModel(out / "noise_float32.tflite")
    flip, other = run.aus.flip_index, test.mirrored()
    first = model(test.images, test.meshes)
    turned = model(other.images, other.meshes)
    for name in ("intensity", "error"):
        np.testing.assert_allclose(turned[name][:, flip], first[name], atol=1e-5)
    rest, its = (answer["features"][:1].repeat(8, axis=0) for answer in (first, turned))
    first = model(test.images, test.meshes, rest)["intensity"]
    turned = model(other.images, other.meshes, its)["intensity"]
    np.testing.assert_allclose(turned[:, flip], first, atol=1e-5)


def test_coordinates_keep_their_precision_in_8_bits(run, out):
    """People differ by less than a 256th of the range of coordinates."""
    test, shaped = run.evidence("test"), run.model().shaped
    said = []
    for recipe in ("float32", "static_wi8_ai8"):
        model = AUModel(out / f"noise_{recipe}.tflite")
        said.append(model(test.images, test.meshes)["features"][:, -shaped:])
    ours, theirs = (values - values.mean(axis=0) for values in said)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99


def test_errors_are_finer_than_8_bits(run, out):
    test, model = run.evidence("test"), AUModel(out / "noise_static_wi8_ai8.tflite")
    errors = model(test.images, test.meshes)["error"]
    assert (errors > 0).all()
    assert len(np.unique(errors)) > 64


def test_the_file_says_what_it_is(out):
    bundle = EdgeBundle.read(out / "noise_static_wi8_ai8.tflite")
    described = bundle.describe()
    assert described["decoder"] == {"kind": "pair", "features": bundle.features}
    assert described["provenance"]["licence"] == "CC0"
    assert described["calibration"]["crops"] == 40
    assert {"icc_plain", "icc_calibrated", "mae_plain"} <= described["measured"].keys()
    assert list(bundle.ends[0]) == ["image", "mesh", "neutral"]
    assert bundle.golden.mesh.shape == (468, 3)


def test_a_crop_without_its_mesh_is_refused(out):
    model = AUModel(out / "noise_float32.tflite")
    crop = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    with pytest.raises(ValueError, match="`meshes` must be"):
        model(crop)
    with pytest.raises(ValueError, match="`meshes` must be"):
        model(crop, np.zeros((2, 468, 3), np.float32))


def test_a_damaged_description_is_refused(out, tmp_path):
    path = tmp_path / "m.tflite"
    data = (out / "noise_float32.tflite").read_bytes()
    for old, new in ((b'"kind": "pair"', b'"kind": "pear"'), (b'"features": 4', b'"features": -')):
        assert old in data
        path.write_bytes(data.replace(old, new))
        with pytest.raises(BundleError):
            AUModel(path)


def test_what_only_heatmap_networks_can_do_is_refused(run, tmp_path):
    for words in (["--batch", "2"], ["--formats", "onnx"], ["--calibrate", "x"]):
        with pytest.raises(ValueError, match="pair network"):
            main([str(run.folder), "-o", str(tmp_path), *words])


def test_what_is_not_good_enough_is_not_written(run, tmp_path):
    with pytest.raises(ValueError, match="Nothing is written"):
        main([str(run.folder), "-o", str(tmp_path / "o"), "--max-icc-loss", "-1"])
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("recipe", "apart"), [("float32", 1e-3), ("float16", 5e-3), ("static_wi8_ai8", 0.1)]
)
def test_a_file_becomes_a_network_that_learns_on(run, out, recipe, apart):
    lessons = run.evidence("test")
    before = answers(run.model(), lessons, calibrated=True)[0]
    net = revived(out / f"noise_{recipe}.tflite", lessons)
    assert np.abs(answers(net, lessons, calibrated=True)[0] - before).mean() < apart
    # Statistics are those of the crops: while it learns, it starts with the same features.
    image = lessons.images.astype(np.float32)
    maps = [np.asarray(net.backbone(image, training=learning)) for learning in (False, True)]
    np.testing.assert_allclose(maps[0], maps[1], atol=0.05)


def test_training_goes_on_from_a_file(run, out, tmp_path):
    start = str(out / "noise_static_wi8_ai8.tflite")
    config = dataclasses.replace(run.config, name="on", start=start, epochs=1, people=3)
    lessons, other = run.evidence("test"), PairRun(tmp_path / "on", config)
    other.train(dataclasses.replace(lessons, split=np.full(len(lessons), "train")), lambda _: None)
    other.finish(lessons, {"dataset": "noise", "licence": "CC0"})
    assert other.provenance()["network"]["started_from"] == "noise_static_wi8_ai8.tflite"
    learnt, before = other.model().get_weights(), network(start, lessons).get_weights()
    mixed = PairRun(tmp_path / "mixed", dataclasses.replace(config, name="mixed", keep=0.25))
    mixed.train(dataclasses.replace(lessons, split=np.full(len(lessons), "train")), lambda _: None)
    for kept, new, old in zip(mixed.model().get_weights(), learnt, before, strict=True):
        np.testing.assert_allclose(kept, 0.75 * new + 0.25 * old, atol=1e-5)


def test_only_files_of_pair_networks_become_networks(run, tmp_path):
    lessons = run.evidence("test")
    with pytest.raises(ValueError, match="not of a pair network"):
        revived(Path(__file__).parents[1] / "edge" / "fixed_bumps.tflite", lessons)
    (tmp_path / "x.tflite").write_bytes(b"no graph")
    with pytest.raises(BundleError):
        revived(tmp_path / "x.tflite", lessons)
