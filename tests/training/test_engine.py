"""The engine: averages, precision, checkpoints, several devices, and what it says when it fails."""

import dataclasses
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfau import devices, train
from tfau.configs import TrainConfig
from tfau.core.action_units import AUSet
from tfau.core.errors import run_cli
from tfau.engine import Trainer
from tfau.models import optimizers
from tfau.training import Run

ROOT = Path(__file__).parents[2]
AUS = AUSet([12, 26])
CONFIG = TrainConfig(
    "engine",
    "none",
    AUS.numbers,
    crop_size=32,
    backbone="tiny",
    decoder_filters=(8, 4, 4),
    graph_levels=(),
    batch_size=8,
    epochs=2,
    schedule="constant",
    warmup=0.0,
    learning_rate=1e-3,
)


def silent(*_):
    """Takes progress and drops it."""


def batches(points=None, images=None):
    """Four batches of noise with labels."""
    random = np.random.default_rng(0)
    if images is None:
        images = random.uniform(0, 255, (32, 32, 32, 3)).astype("float32")
    if points is None:
        points = random.uniform(0, 5, (32, len(AUS.point_names), 3)).astype("float32")
    return tf.data.Dataset.from_tensor_slices((images, {"heatmaps": points})).batch(8, True)


def trainer(**changes):
    return Trainer(dataclasses.replace(CONFIG, **changes), AUS, steps=4)


def weights(model):
    return [np.array(variable) for variable in model.trainable_variables]


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def plain():
    """A trainer after two epochs."""
    one = trainer()
    one.losses = [one.epoch(batches(), seed, silent) for seed in (1, 2)]
    return one


def test_what_is_kept_is_what_was_learnt(plain):
    assert plain.losses[1] < plain.losses[0]
    assert_same(weights(plain.kept), weights(plain.model))
    assert not plain.kept.compiled  # no optimiser: a third of the size


def test_an_average_is_kept_and_training_goes_on_without_it(plain, tmp_path):
    averaged = trainer(ema=0.9)
    first = trainer(ema=0.9)
    for one in (averaged, first):
        one.epoch(batches(), 1, silent)
    first.save(tmp_path / "last.keras", [{"epoch": 1}])
    averaged.epoch(batches(), 2, silent)
    assert_same(weights(averaged.model), weights(plain.model))
    # The average lags behind.
    pairs = zip(weights(averaged.kept), weights(plain.kept), strict=True)
    assert 0 < max(np.abs(a - b).max() for a, b in pairs) < 0.1

    resumed = trainer(ema=0.9)
    assert resumed.resume(tmp_path / "last.keras", silent) == [{"epoch": 1}]
    resumed.epoch(batches(), 2, silent)
    assert_same(weights(resumed.kept), weights(averaged.kept))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_learns_and_answers_in_float32(precision, plain, tmp_path):
    half = trainer(precision=precision)
    losses = [half.epoch(batches(), seed, silent) for seed in (1, 2)]
    np.testing.assert_allclose(losses, plain.losses, rtol=0.05)
    half.save(tmp_path / "last.keras", [])
    again = trainer(precision=precision)
    again.resume(tmp_path / "last.keras", silent)
    for network in (half.model, again.model):
        convolution = network.get_layer("decoder1_deconv")
        assert convolution.compute_dtype == precision
        assert network.output["heatmaps"].dtype == "float32"
        assert {variable.dtype for variable in network.trainable_variables} == {"float32"}
    assert half.kept.get_layer("decoder1_deconv").compute_dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"


def test_a_checkpoint_that_was_cut_off_gives_way_to_the_one_before(plain, tmp_path):
    path, said = tmp_path / "last.keras", []
    plain.save(path, [{"epoch": 1}])
    plain.save(path, [{"epoch": 1}, {"epoch": 2}])
    whole = path.read_bytes()
    for cut in (whole[: len(whole) // 2], b""):
        path.write_bytes(cut)
        assert trainer().resume(path, said.append) == [{"epoch": 1}]
    assert "last.keras cannot be read" in said[0]
    assert "Going on from previous_last.keras, after epoch 1." in said[0]
    (tmp_path / "previous_last.keras").write_bytes(whole[:100])
    with pytest.raises(ValueError, match=r"previous_last\.keras cannot be read"):
        trainer().resume(path, silent)


def test_a_loss_that_is_no_number_names_what_it_came_from():
    with pytest.raises(ValueError, match=r"batch \d is not a number: its data are in order"):
        trainer(learning_rate=1e30, clipnorm=0.0).epoch(batches(), 1, silent)
    points = np.ones((32, len(AUS.point_names), 3), "float32")
    points[20, list(AUS.point_owner).index(1), 2] = np.inf
    with pytest.raises(ValueError, match="batch 3 is not a number: a label of AU26 is inf"):
        trainer().epoch(batches(points), 1, silent)
    images = np.full((32, 32, 32, 3), np.nan, "float32")
    with pytest.raises(ValueError, match="batch 1 is not a number: its pictures hold"):
        trainer().epoch(batches(images=images), 1, silent)


@pytest.mark.parametrize(
    ("room", "advice"),
    [(3, "--batch-size 2 --accumulate 4 learns as much"), (0, "nor does a batch of 1")],
)
def test_a_batch_that_does_not_fit_is_answered_by_one_that_does(room, advice, monkeypatch):
    def full(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    def small(_self, images, _labels):
        if len(images) > room:
            full()

    monkeypatch.setattr(keras.Model, "fit", full)
    monkeypatch.setattr(keras.Model, "train_on_batch", small)
    with pytest.raises(ValueError, match=f"8 does not fit into the memory.*{advice}"):
        trainer().epoch(batches(), 1, silent)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"schedule": "constant", "warmup": 2.0}, [0, 0.5, 1, 1, 1]),
        ({"schedule": "step", "step_epochs": (1, 3)}, [1, 1, 0.1, 0.1, 0.01]),
        ({"schedule": "cosine"}, [1, 0.854, 0.5, 0.146, 0]),
        ({"schedule": "cosine", "warmup": 1.0}, [0, 1, 0.75, 0.25, 0]),
    ],
)
def test_rates_rise_and_fall(changes, expected):
    options = dataclasses.replace(CONFIG, learning_rate=1.0, epochs=4, **changes)
    rate = optimizers.rate(options, steps=100)
    ends = [0, 100, 200, 300, 401 if options.schedule == "step" else 400]
    if options.schedule == "step":  # the rate falls after an epoch, not with its last step
        ends = [0, 100, 101, 300, 301]
    np.testing.assert_allclose([float(rate(step)) for step in ends], expected, atol=1e-3)
    again = type(rate).from_config(rate.get_config())
    assert float(again(150)) == float(rate(150))
    assert optimizers.rate(CONFIG, steps=100) == CONFIG.learning_rate


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_small_batches_add_up_to_a_large_one(name):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(8, 3)), random.normal(size=(8, 1))
    ends = []
    for accumulate in (1, 4):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        options = dataclasses.replace(CONFIG, optimizer=name, accumulate=accumulate)
        model.compile(optimizers.optimizer(options, 8), loss="mse", jit_compile=False)
        start = model.get_weights()[0]
        for part in np.split(np.arange(8), accumulate):
            model.train_on_batch(x[part], y[part])
        ends.append(model.get_weights()[0])
    np.testing.assert_allclose(*ends, atol=1e-6)
    assert not np.allclose(start, ends[0], atol=1e-6)


@pytest.fixture(scope="module")
def few(small):
    """Epochs of seconds."""
    return dataclasses.replace(
        small, crop_size=32, decoder_filters=(8, 4, 4), graph_levels=(), batch_size=200
    )


def test_training_stops_where_it_gets_no_better(few, data, tmp_path, monkeypatch):
    scores, said = iter([0.1, 0.3, 0.2, 0.3, 0.1, 0.2, 0.9]), []
    monkeypatch.setattr(Run, "_scores", lambda *_: {"ICC": next(scores)})
    config = dataclasses.replace(few, epochs=7, patience=2)
    run = Run.create(config, tmp_path / "run", resume=False)
    run.train(data, silent, said.append)
    assert [row["ICC"] for row in run.history()] == [0.1, 0.3, 0.2, 0.3, 0.1, 0.2]
    assert said[-1] == "No better epoch than 4 in 2: stopped early."
    run.train(data, silent, said.append)  # and does not begin anew
    assert len(run.history()) == 6
    lines = (run.folder / "metrics.csv").read_text().splitlines()
    assert lines[0] == "epoch,loss,ICC,seconds"
    assert len(lines) == 7
    pictures = sorted(path.name for path in (run.folder / "maps").iterdir())
    assert pictures == [f"{epoch:03d}.png" for epoch in range(1, 7)]


def test_curves_and_maps_are_there_for_tensorboard(few, data, tmp_path):
    config = dataclasses.replace(few, epochs=1)
    run = Run.create(config, tmp_path / "run", resume=False)
    run.train(data, silent, silent)
    (path,) = (run.folder / "tensorboard").iterdir()
    values = {}
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        event = tf.compat.v1.Event.FromString(record)
        values |= {value.tag: value for value in event.summary.value}
        assert event.step <= 1
    assert values["loss"].simple_value == pytest.approx(run.history()[0]["loss"])
    panel = tf.io.decode_png(values["maps"].image.encoded_image_string).numpy()
    assert panel.shape == (3 * 32, 6 * 32, 3)
    assert len({row.tobytes() for row in panel[32:64:4]}) > 1  # labels are drawn


def test_few_crops_are_learnt_by_heart(few, data):
    fold = Run(Path("x"), dataclasses.replace(few, overfit=32)).fold(data)
    assert fold.train.sum() == 32
    assert fold.train is fold.validation is fold.test
    assert "learnt by heart" in fold.note
    run = Run(Path("x"), dataclasses.replace(few, overfit=32))
    assert run.steps(data) == Run(Path("x"), few).steps(data) - 1  # 43 times 32, of 1,400


def test_rare_units_weigh_more(few, data):
    run = Run(Path("x"), dataclasses.replace(few, unit_balance=1.0))
    labels, train = data.labels, run.fold(data).train
    share = (labels.intensity[train] >= 1).mean(axis=0)
    share = np.array([share[data.aus.index(number)] for number in few.aus])
    unit_weights = run._unit_weights(data)
    np.testing.assert_allclose(unit_weights * share, (unit_weights * share)[0])
    assert unit_weights.mean() == pytest.approx(1.0)
    assert Run(Path("x"), few)._unit_weights(data) is None


def test_a_dry_run_says_what_would_be_and_writes_nothing(data_dir, tmp_path, capsys):
    words = "--aus 12 --crop-size 32 --decoder-filters 8 4 4 --batch-size 200 --dry-run".split()
    train.main([*words, "--runs", str(tmp_path / "runs"), "--data-dir", data_dir])
    said = capsys.readouterr().out
    assert "1400 crops to train, 200 to choose the epoch, 400 to test" in said
    assert re.search(r"28 epochs of 7 batches of 200, about \d+ s each; loss of the first", said)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--optimizer", "adamm"], "no optimizer 'adamm'. Nearest: adam"),
        (["--schedule", "cos"], "no schedule 'cos'. Nearest: cosine"),
        (["--precision", "float8"], "no precision 'float8'. Nearest: float"),
        (["--jit", "yes"], "no jit 'yes'"),
        (["--ema", "1"], "`ema` must lie in [0, 1). Received: 1.0"),
        (["--accumulate", "0"], "`accumulate` must be at least 1. Received: 0"),
        (["--schedule", "step"], "A step schedule needs `step_epochs`"),
        (["--learning-rate", "-1"], "`learning_rate` must be at least 0. Received: -1.0"),
        (["--patience", "-1"], "`patience` must be at least 0. Received: -1"),
        (["--accumulate", "99"], "must be at most 1400, the number of crops to train with"),
    ],
)
def test_bad_settings_are_one_sentence(words, message, tmp_path, data_dir, capfd, monkeypatch):
    runs = str(tmp_path / "runs")
    monkeypatch.setattr(sys, "argv", ["train", *words, "--runs", runs, "--data-dir", data_dir])
    assert run_cli(train.main) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1, err
    assert message in err
    assert not (tmp_path / "runs").exists()


TWO_PROCESSORS = """
import sys
import tensorflow as tf
one = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(one, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfau import devices, train
train.main(sys.argv[1:])
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_two_devices_share_a_batch(backend, few, data_dir, tmp_path):
    if not importlib.util.find_spec(backend):
        pytest.skip(f"{backend} is not installed")
    words = ["--name", "two", "--epochs", "1", "--distribute", "--batch-size", "100"]
    words += ["--aus", "12", "26", "--crop-size", "32", "--decoder-filters", "8", "4", "4"]
    words += ["--graph-levels", "--runs", str(tmp_path), "--data-dir", data_dir]
    environment = os.environ | {
        "KERAS_BACKEND": backend,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    command = [sys.executable, "-c", TWO_PROCESSORS, *words]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (row,) = map(json.loads, (tmp_path / "two" / "metrics.jsonl").read_text().splitlines())
    assert np.isfinite(row["loss"])
    trained = keras.saving.load_model(tmp_path / "two" / "model.keras")  # on one device
    maps = trained.predict_on_batch(np.zeros((3, 32, 32, 3)))["heatmaps"]
    assert maps.shape == (3, 8, 8, 4)


def test_devices_get_equal_shares(monkeypatch):
    spread = devices.Spread()
    monkeypatch.setattr(spread, "count", 3)
    with pytest.raises(ValueError, match="must be a multiple of the 3 devices. Received: 8"):
        Trainer(CONFIG, AUS, steps=4, spread=spread)
