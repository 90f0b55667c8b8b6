"""All folds of a protocol, from one command to one table."""

import json
import sys

import numpy as np
import pytest

from tfau import evaluate, train
from tfau.core.errors import run_cli
from tfau.predictions import Predictions
from tfau.training import Run

WORDS = """synthetic_tiny --name try --aus 12 25 --crop-size 32 --decoder-filters 8 8 8 --epochs 1
    --batch-size 100 --protocol subjects_2 --folds all""".split()
KEPT = {"bars.png", "bland_altman.png", "confusion.png", "predictions.parquet"} | {
    f"scores.{suffix}" for suffix in ("csv", "md", "tex")
}


def say(monkeypatch, main, *words) -> int:
    monkeypatch.setattr(sys, "argv", ["x", *map(str, words)])
    return run_cli(main)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, data_dir):
    runs = tmp_path_factory.mktemp("runs")
    train.main([*WORDS, "--runs", str(runs), "--data-dir", data_dir])
    return runs / "try"


def test_every_frame_is_tested_once_by_a_network_that_never_saw_the_person(folder, data):
    assert {path.name for path in folder.iterdir()} == KEPT | {"fold1", "fold2"}
    pooled = Predictions.read(folder / "predictions.parquet")
    assert len(pooled) == len(data)
    assert pooled.facts["folds_done"] == "2 of 2"
    for number in (1, 2):
        run = Run.open(folder / f"fold{number}")
        fold = run.fold(data)
        tested = set(data.labels.subject[fold.test])
        assert tested == set(pooled.subject[pooled.fold == fold.name])
        assert not tested & set(data.labels.subject[fold.train | fold.validation])
        assert fold.validation.any()


def test_scores_are_made_again_without_a_network(folder, tmp_path, capsys):
    evaluate.main([str(folder / "predictions.parquet"), "-o", str(tmp_path / "again")])
    assert "AU25" in capsys.readouterr().out
    for name in ("scores.csv", "scores.md", "scores.tex"):
        assert (tmp_path / "again" / name).read_text() == (folder / name).read_text()


def test_the_folds_of_a_folder_are_scored_together(folder, data_dir, tmp_path, capsys):
    out = tmp_path / "again"
    evaluate.main([str(folder), "--data-dir", data_dir, "-o", str(out), "--resamples", "10"])
    capsys.readouterr()
    ours, before = (Predictions.read(at / "predictions.parquet") for at in (out, folder))
    np.testing.assert_allclose(ours.intensity, before.intensity, atol=1e-5)
    assert ours.facts == before.facts


def test_the_mean_of_networks_is_scored_where_all_see_the_same(folder, data_dir, tmp_path, capsys):
    words = ["--dataset", "synthetic_faces/tiny", "--split", "test", "--resamples", "10"]
    evaluate.main([str(folder), *words, "--data-dir", data_dir, "-o", str(tmp_path)])
    assert "mean of 2 networks" in capsys.readouterr().out
    assert len(Predictions.read(tmp_path / "predictions.parquet")) == 400


def test_what_is_done_is_not_done_again(folder, data_dir, capsys):
    stamp = (folder / "fold1" / "last.keras").stat().st_mtime_ns
    train.main([*WORDS, "--runs", str(folder.parent), "--data-dir", data_dir, "--resume"])
    assert (folder / "fold1" / "last.keras").stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--folds", "3"], "must be all, or numbers from 1 to 2. Received: 3"),
        (["--folds", "x"], "Received: x"),
        (["--protocol", "mine"], "no protocol 'mine'"),
        (["--protocol", "disfa_jaa_3"], "is a list of disfa. Received: synthetic_faces"),
        (["--protocol", "subjects_999"], "needs at least 999 people"),
        (["--validation", "1"], "must lie in [0, 1). Received: 1"),
        (["--dataset", "synthetic_faces/tiny+synthetic_faces/tiny"], "one set twice"),
    ],
)
def test_folds_that_cannot_be_are_one_sentence(
    words, message, data_dir, tmp_path, capfd, monkeypatch
):
    runs = tmp_path / "runs"
    more = ["--runs", runs, "--data-dir", data_dir, *words]
    assert say(monkeypatch, train.main, *WORDS, *more) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1, err
    assert message in err
    assert not runs.exists()


def test_another_version_of_the_data_is_refused(folder, data_dir, tmp_path, capfd, monkeypatch):
    path = folder / "fold1" / "provenance.json"
    facts = json.loads(path.read_text())
    before = facts["dataset"]
    try:
        path.write_text(json.dumps({**facts, "dataset": "synthetic_faces/tiny/0.9.0"}))
        words = [folder / "fold1", "--data-dir", data_dir, "-o", tmp_path / "scores"]
        assert say(monkeypatch, evaluate.main, *words) == 2
    finally:
        path.write_text(json.dumps(facts))
    err = capfd.readouterr().err
    assert f"was trained on synthetic_faces/tiny/0.9.0, and the data set at hand is {before}" in err
    assert not (tmp_path / "scores").exists()


@pytest.mark.parametrize("text", ["", "[1", "{}", "[]", '{"dataset": null}', "3"])
def test_a_damaged_record_of_the_data_is_one_sentence(
    text, folder, data_dir, tmp_path, capfd, monkeypatch
):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_bytes((folder / "fold1" / "config.json").read_bytes())
    (run / "provenance.json").write_text(text)
    assert say(monkeypatch, evaluate.main, run, "--data-dir", data_dir) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1, err
    assert "provenance.json cannot be read" in err or "no model.keras" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "no run in nowhere"),
        (["FILE", "--split", "test"], "need the folder of a run"),
        (["FILE", "--resamples", "0"], "at least 1. Received: 0"),
        (["NOISE"], "not a file of predictions"),
    ],
)
def test_evaluating_nonsense_is_one_sentence(words, message, folder, tmp_path, capfd, monkeypatch):
    (tmp_path / "noise.parquet").write_bytes(b"PAR1 no")
    known = {"FILE": folder / "predictions.parquet", "NOISE": tmp_path / "noise.parquet"}
    assert say(monkeypatch, evaluate.main, *(known.get(word, word) for word in words)) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1, err
    assert message in err
