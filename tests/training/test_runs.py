"""Training: what a run promises, wherever it is stopped."""

import csv
import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tfau import evaluate, train
from tfau.configs import TrainConfig
from tfau.core.errors import ctrl_c, run_cli
from tfau.predictions import Predictions
from tfau.training import Run

ROOT = Path(__file__).parents[2]


def silent(*_):
    """Takes progress and drops it."""


def finish(run, data):
    run.train(data, silent, silent)
    return run


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, small, data):
    folder = tmp_path_factory.mktemp("runs") / small.name
    run = finish(Run.create(small, folder, resume=False), data)
    run.finish(data)
    return run


def learnt(run):
    """What a run knows after its last epoch, the optimiser's memory included."""
    model = run.model("last.keras")
    return [np.array(v) for v in (*model.weights, *model.optimizer.variables)]


def scores(run):
    """What was measured, without how long it took."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in run.history()]


def test_a_run_learns_and_says_so(unbroken):
    history = unbroken.history()
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert history[-1]["loss"] < history[0]["loss"]
    predictions = Predictions.read(unbroken.folder / "predictions.parquet")
    assert predictions.aus.names == ("AU12", "AU25", "AU26")
    assert len(predictions) == 400
    report = (unbroken.folder / "report.md").read_text()
    assert "40 test people" in report
    assert all(unit in report for unit in ("AU12", "AU25", "AU26", "mean"))
    assert {path.name for path in unbroken.folder.iterdir()} == {
        "config.json",
        "metrics.jsonl",
        "metrics.csv",
        "maps",
        "tensorboard",
        "model.keras",
        "last.keras",
        "previous_last.keras",
        "provenance.json",
        "calibration.npz",
        "report.md",
        "curves.png",
        "sheet.png",
        "predictions.parquet",
        "scores.csv",
        "scores.md",
        "scores.tex",
        "bars.png",
        "confusion.png",
        "bland_altman.png",
    }
    assert Run.open(unbroken.folder).config == unbroken.config


def test_the_constant_beside_the_scores_is_the_mean_of_the_training_people(unbroken, data):
    labels, fold = data.labels, unbroken.fold(data)
    column = labels.intensity[:, data.aus.index(25)]
    error = np.abs(column[fold.test] - column[fold.train].mean()).mean()
    rows = csv.DictReader((unbroken.folder / "scores.csv").read_text().splitlines())
    row = next(row for row in rows if row["AU"] == "AU25" and row["ICC"])
    assert float(row["MAE_constant"]) == pytest.approx(error, rel=1e-4)


def command(config: TrainConfig, runs: Path, data_dir: str, *more: str) -> list[str]:
    """The command line that makes a run of this config."""
    words = [sys.executable, "-m", "tfau.train", "synthetic_tiny", "--runs", str(runs)]
    for field in ("name", "crop_size", "epochs", "batch_size"):
        words += [f"--{field.replace('_', '-')}", str(getattr(config, field))]
    for field in ("aus", "decoder_filters"):
        words += [f"--{field.replace('_', '-')}", *map(str, getattr(config, field))]
    return [*words, "--data-dir", data_dir, *more]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_stopped_and_resumed_is_the_same(
    unbroken, small, data, data_dir, tmp_path, how
):
    run = Run(tmp_path / small.name, small)
    with subprocess.Popen(
        command(small, tmp_path, data_dir),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 120
        while len(run.history()) < 1 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.1)  # into the second epoch
        assert process.poll() is None, process.communicate()
        process.send_signal(how)
        out, err = process.communicate()
    assert process.returncode == (-how if how == signal.SIGKILL else 130), err
    if how == signal.SIGINT:
        assert "--resume" in out
        assert "Traceback" not in err
    assert 1 <= len(run.history()) < small.epochs

    finish(Run.create(small, run.folder, resume=True), data)
    assert scores(run) == scores(unbroken)
    for ours, theirs in zip(learnt(run), learnt(unbroken), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def disguise_ctrl_c():
    with ctrl_c():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError from None  # as TensorFlow does in the middle of a trace


def test_ctrl_c_that_got_lost_comes_back(capfd):
    class Dying:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    with ctrl_c() as check:
        check()
        Dying()  # Python drops what is raised there, and prints it
        with pytest.raises(KeyboardInterrupt):
            check()
    with pytest.raises(KeyboardInterrupt):
        disguise_ctrl_c()
    assert capfd.readouterr().err == ""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_last_epoch_is_kept_where_nobody_can_be_scored(small, data, tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "_scores", lambda *_: {"ICC": float("nan")})
    config = dataclasses.replace(small, crop_size=32, epochs=2, batch_size=200)
    run = finish(Run.create(config, tmp_path / "run", resume=False), data)
    kept, last = run.model(), run.model("last.keras")
    for ours, theirs in zip(kept.get_weights(), last.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_finished_run_resumes_to_itself(unbroken, data):
    before = (unbroken.folder / "metrics.jsonl").read_bytes()
    finish(unbroken, data)
    assert (unbroken.folder / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing"], "no config 'nothing'"),
        (["--aus", "12", "99"], "no AU 99"),
        (["--crop-size", "100"], "multiple of 32. Received: 100"),
        (["--epochs", "0"], "at least 1. Received: 0"),
        (["--backbone", "resnet"], "no backbone 'resnet'"),
        (["--batch-size", "9999"], "Received: 9999"),
        (["--dataset", "faces"], "no data set 'faces'"),
        (["--aus", "13"], "AU [13]"),
        (["--backbone", "resnet_v1_50", "--weights", "none.h5"], "cannot be built with --weights"),
        (["--weights", "none.h5"], "cannot be built with --weights none.h5"),
        (["--resume"], "no run in"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    words, message, tmp_path, data_dir, capfd, monkeypatch
):
    monkeypatch.setattr(
        sys, "argv", ["train", *words, "--runs", str(tmp_path / "runs"), "--data-dir", data_dir]
    )
    assert run_cli(train.main) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1, err
    assert message in err
    assert not (tmp_path / "runs").exists()


def test_another_run_is_not_overwritten(unbroken, small):
    with pytest.raises(ValueError, match="exists; continue it with --resume"):
        Run.create(small, unbroken.folder, resume=False)
    with pytest.raises(ValueError, match="other settings"):
        Run.create(dataclasses.replace(small, seed=5), unbroken.folder, resume=True)


def test_damaged_runs_are_refused(unbroken, tmp_path):
    with pytest.raises(ValueError, match="no run in"):
        Run.open(tmp_path)
    (tmp_path / "config.json").write_text('{"name": 1}')
    with pytest.raises(ValueError, match="not the config of a run"):
        Run.open(tmp_path)
    (tmp_path / "config.json").write_text((unbroken.folder / "config.json").read_text())
    with pytest.raises(ValueError, match=r"no model\.keras"):
        Run.open(tmp_path).model()
    (tmp_path / "model.keras").write_bytes((unbroken.folder / "model.keras").read_bytes()[:5000])
    with pytest.raises(ValueError, match="cannot be read"):
        Run.open(tmp_path).model()


def test_metrics_are_lines_of_json(unbroken):
    lines = (unbroken.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]


def test_evaluate_is_a_command(unbroken, data_dir, capsys):
    evaluate.main([str(unbroken.folder), "--data-dir", data_dir, "--split", "validation"])
    assert "AU25" in capsys.readouterr().out
