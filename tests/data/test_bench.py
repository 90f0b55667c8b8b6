"""The commands that say how fast tfau is here."""

import dataclasses
import importlib.util
import re
import subprocess
import sys

import pytest

from tfau.bench import __main__ as bench
from tfau.bench import pipeline, train
from tfau.bench.train_contender import PYTORCH, Task
from tfau.bench.turns import Result

SMALL = "--backbone tiny --crop-size 64 --batch-size 2 --rounds 1 --backends tensorflow".split()


def test_the_pipeline_is_compared_with_a_network(tiny_dir, capsys, monkeypatch):
    small = dataclasses.replace(pipeline.NETWORKS[128], aus=(12,), decoder_filters=(8, 8, 8))
    monkeypatch.setitem(pipeline.NETWORKS, 128, small)
    words = ["pipeline", "--sizes", "128", "--seconds", "0.1", "--data-dir", str(tiny_dir)]
    assert bench.main([*words, "--at-least", "0"]) == 0
    row = capsys.readouterr().out.splitlines()[-1]
    assert row.endswith("synthetic_tiny")
    size, given, taken, ratio = (float(word) for word in re.findall(r"[\d.]+", row))
    assert size == 128
    assert ratio == pytest.approx(given / taken, rel=0.1, abs=0.1)


def test_a_pipeline_that_is_too_slow_shows_in_the_status(monkeypatch, tiny_dir):
    monkeypatch.setattr(pipeline, "_training", lambda batches, config: lambda: 16)
    words = ["pipeline", "--sizes", "128", "--seconds", "0.1", "--data-dir", str(tiny_dir)]
    assert bench.main([*words, "--at-least", "1e9"]) == 1


@pytest.mark.parametrize("words", [[], ["pipeline", "--sizes", "100"], ["train", "--rounds", "x"]])
def test_what_is_not_measured_is_refused(words, capsys):
    with pytest.raises(SystemExit) as stop:
        bench.main(words)
    assert stop.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_a_training_step_is_measured(capsys):
    assert bench.main(["train", *SMALL, "--precisions", "float32"]) == 0
    _, header, row, *missing = capsys.readouterr().out.splitlines()
    assert header == train.HEADER
    precision, engine, *numbers = row.split()
    assert (precision, engine) == ("float32", "tensorflow")
    assert len(numbers) == 3  # nothing to compare it with
    assert float(numbers[0]) > 0
    assert 0.1 < float(numbers[2]) < 10
    assert len(missing) == 1
    assert missing[0].startswith("float32 on pytorch is missing: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--backbone", "resnet_v1_5"], "Nearest: resnet_v1_50"),
        (["--backends", "tensorflaw"], "Nearest: tensorflow"),
        (["--precisions", "float23"], "Nearest: float32"),
        (["--rounds", "0"], "`rounds` must be at least 1. Received: 0."),
        (["--batch-size", "0"], "`batch_size` must be at least 1. Received: 0."),
        (["--crop-size", "250"], "`crop_size` must be"),
    ],
)
def test_what_cannot_be_trained_is_said(words, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        bench.main(["train", *words])


def test_a_bad_word_ends_in_one_sentence():
    words = [sys.executable, "-m", "tfau.bench", "train", "--rounds", "0"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "tfau: `rounds` must be at least 1. Received: 0.\n"


def result(engine: str, *seconds: float) -> Result[Task]:
    return Result(Task(engine, "float32"), seconds, 2.5e9, {"flop": 3e12})


def test_ratios_are_of_the_same_round():
    torch, fast, slow = (
        result(PYTORCH, 2.0, 4.0, 8.0),  # the machine gets slower
        result("tensorflow", 1.0, 1.0, 16.0),
        result("jax", 4.0, 8.0, 16.0),
    )
    assert train.rate(torch) == 4.0
    assert fast.ratios(torch) == [2.0, 4.0, 0.5]
    assert train.best_ratio([torch, slow, fast]) == 2.0
    lines = [line.split() for line in train.table([torch, fast], peak=12e12)]
    assert lines[0] == ["float32", PYTORCH, "4.00", "0.75", "6%", "2.5"]
    assert lines[1][2:] == ["16.00", "2.00", "(0.50", "to", "4.00)", "3.00", "25%", "2.5"]


def test_without_a_yardstick_there_is_no_ratio():
    assert train.best_ratio([result("tensorflow", 1.0)]) is None
    assert train.best_ratio([result(PYTORCH, 1.0)]) is None


def test_a_contender_that_fails_says_why(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object())
    task = Task("tensorflow", "float32", backbone="none")
    with pytest.raises(LookupError, match="There is no backbone 'none'"), train._contender(task):
        pass


def test_a_contender_that_stops_in_the_middle_is_no_traceback(monkeypatch):
    def stopped(*_):
        raise LookupError("Killed")

    monkeypatch.setattr(train, "measure", stopped)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(train, "require_extra", lambda *_: None)
    with pytest.raises(ValueError, match="A contender stopped: Killed. A smaller --batch-size"):
        bench.main(["train", "--precisions", "float32"])


def test_a_missed_target_shows_in_the_status(monkeypatch, capsys):
    results = [result(PYTORCH, 1.0), result("tensorflow", 2.0)]
    monkeypatch.setattr(train, "measure", lambda *_: results)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name in {"tensorflow", "keras"})
    words = ["train", "--backends", "jax", "--precisions", "float32"]
    monkeypatch.setattr(train, "require_extra", lambda *_: None)
    assert bench.main(words) == 1
    assert "float32 reaches 0.50 of 1.0." in capsys.readouterr().out
