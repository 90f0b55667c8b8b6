"""The command that compares the pipeline with the networks."""

import dataclasses
import re

import pytest

from tfau import bench


def test_the_pipeline_is_compared_with_a_network(tiny_dir, capsys, monkeypatch):
    small = dataclasses.replace(bench.NETWORKS[128], aus=(12,), decoder_filters=(8, 8, 8))
    monkeypatch.setitem(bench.NETWORKS, 128, small)
    words = ["pipeline", "--sizes", "128", "--seconds", "0.1", "--data-dir", str(tiny_dir)]
    assert bench.main([*words, "--at-least", "0"]) == 0
    row = capsys.readouterr().out.splitlines()[-1]
    assert row.endswith("synthetic_tiny")
    size, given, taken, ratio = (float(word) for word in re.findall(r"[\d.]+", row))
    assert size == 128
    assert ratio == pytest.approx(given / taken, rel=0.1, abs=0.1)


def test_a_pipeline_that_is_too_slow_shows_in_the_status(monkeypatch, tiny_dir):
    monkeypatch.setattr(bench, "_training", lambda batches, config: lambda: 16)
    words = ["pipeline", "--sizes", "128", "--seconds", "0.1", "--data-dir", str(tiny_dir)]
    assert bench.main([*words, "--at-least", "1e9"]) == 1


@pytest.mark.parametrize("words", [[], ["pipeline", "--sizes", "100"]])
def test_what_is_not_measured_is_refused(words, capsys):
    with pytest.raises(SystemExit) as stop:
        bench.main(words)
    assert stop.value.code == 2
    assert "usage" in capsys.readouterr().err
