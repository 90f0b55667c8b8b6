"""A run whose network is trained further, in 8 bits or not."""

import dataclasses
import json

import numpy as np
import pytest

from tfau import train
from tfau.configs import TrainConfig
from tfau.core.errors import run_cli
from tfau.training import Run


def silent(*_):
    """Takes progress and drops it."""


@pytest.fixture(scope="module")
def start(tmp_path_factory, small, data):
    config = dataclasses.replace(small, epochs=2)
    run = Run.create(config, tmp_path_factory.mktemp("runs") / "small", resume=False)
    run.train(data, silent, silent)
    return run


@pytest.fixture(scope="module")
def tuned(start, tmp_path_factory, data_dir):
    """Two epochs of rounding."""
    runs = tmp_path_factory.mktemp("tuned")
    words = ["--quantize", "static_wi8_ai8", "--epochs", "2", "--data-dir", data_dir]
    train.main(["--finetune", str(start.folder), *words, "--runs", str(runs)])
    return Run.open(runs / "small_tuned")


def test_what_is_not_said_is_as_in_the_run(start, tuned):
    expected = dataclasses.replace(
        start.config,
        name="small_tuned",
        epochs=2,
        learning_rate=start.config.learning_rate / 10,
        warmup=0.5,
        finetune=str(start.folder),
        quantize="static_wi8_ai8",
    )
    assert tuned.config == expected


def test_it_starts_where_the_run_ended(start, tuned):
    assert tuned.history()[0]["loss"] < start.history()[-1]["loss"] * 1.2
    assert {"report.md", "calibration.npz"} <= {path.name for path in tuned.folder.iterdir()}


def test_what_is_kept_is_the_plain_network(start, tuned):
    before, after = start.model(), tuned.model()
    assert type(after) is type(before)
    assert [w.path for w in after.weights] == [w.path for w in before.weights]
    assert any(
        not np.array_equal(np.asarray(one), np.asarray(other))
        for one, other in zip(after.weights, before.weights, strict=True)
    )


def test_stopped_and_resumed_it_is_the_same(start, tuned, data, tmp_path):
    class Stop(Exception):
        pass

    def stop(batch, _loss):
        if run.history() and batch == 3:
            raise Stop

    run = Run.create(tuned.config, tmp_path / "small_tuned", resume=False)
    with pytest.raises(Stop):
        run.train(data, stop, silent)
    again = Run.create(tuned.config, tmp_path / "small_tuned", resume=True)
    again.train(data, silent, silent)
    for one, other in zip(
        again.model("last.keras").weights, tuned.model("last.keras").weights, strict=True
    ):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_what_came_of_it_needs_the_first_run_no_more(tuned, tmp_path):
    config = dataclasses.replace(tuned.config, finetune=str(tmp_path / "gone"))
    (tmp_path / "config.json").write_text(config.to_json())
    assert Run.open(tmp_path).config == config
    with pytest.raises(ValueError, match="is not the config of a run"):
        Run.check(config)  # but training it again would


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--crop-size", "96"], "`crop_size` must be as in"),
        (["--aus", "12", "25"], "`aus` must be as in"),
        (["--seed", "7"], "`seed` must be as in"),
        (["--validation", "0"], "it may have learnt from our tests"),
        (["--quantize", "int4"], "There is no recipe 'int4'"),
    ],
)
def test_what_does_not_fit_is_refused(start, tmp_path, capsys, words, sentence):
    words = ["--finetune", str(start.folder), *words, "--runs", str(tmp_path)]
    assert run_cli(lambda _: train.main(words)) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_not_there(tmp_path, capsys):
    words = [f"--finetune={tmp_path / 'nowhere'}", "--runs", str(tmp_path)]
    assert run_cli(lambda _: train.main(words)) == 2
    assert "is not the config of a run" in capsys.readouterr().err


def test_a_network_without_maps_cannot_round(small):
    config = dataclasses.replace(small, network="attention", quantize="static_wi8_ai8")
    with pytest.raises(ValueError, match="`quantize` is for heatmap networks only"):
        Run.check(config)


def test_half_precision_cannot_round(small):
    config = dataclasses.replace(small, precision="bfloat16", quantize="static_wi8_ai8")
    with pytest.raises(ValueError, match="`quantize` wants `precision` float32"):
        Run.check(config)


def test_the_config_survives_its_file(tuned):
    text = (tuned.folder / "config.json").read_text()
    assert TrainConfig.read(tuned.folder / "config.json") == tuned.config
    assert json.loads(text)["quantize"] == "static_wi8_ai8"
