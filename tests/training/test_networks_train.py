"""Networks other than the one that draws maps: trained, chosen, scored, and resumed."""

import dataclasses
import json
import re

import keras
import numpy as np
import pytest

from tfau import checkpoints
from tfau.configs import TrainConfig
from tfau.models.attention_net import AUAttentionNet
from tfau.models.presence_net import AUPresenceNet
from tfau.predictions import Predictions
from tfau.training import Run


def silent(*_):
    """Takes progress and drops it."""


@pytest.fixture(scope="module")
def few(small):
    """Two epochs of some seconds."""
    return dataclasses.replace(small, crop_size=32, epochs=2, batch_size=100)


def trained(config, folder, data):
    run = Run.create(config, folder, resume=False)
    run.train(data, silent, silent)
    return run


@pytest.fixture(scope="module")
def presence(tmp_path_factory, few, data):
    config = dataclasses.replace(few, name="presence", network="presence")
    return trained(config, tmp_path_factory.mktemp("runs") / config.name, data)


def test_an_attention_network_is_scored_by_its_intensities(few, data, tmp_path):
    config = dataclasses.replace(few, name="attention", network="attention")
    run = trained(config, tmp_path / config.name, data)
    history = run.history()
    assert history[-1]["loss"] < history[0]["loss"]
    assert all(np.isfinite(row["ICC"]) for row in history)
    scores = run.finish(data)
    assert np.isfinite(scores.intensity.metrics["ICC"].value).all()
    assert np.isfinite(scores.presence.metrics["AUC"].value).all()
    said = Predictions.read(run.folder / "predictions.parquet")
    assert ((said.intensity >= 0) & (said.intensity <= 5)).all()
    assert said.intensity.std(axis=0).min() > 0
    assert np.isnan(said.presence).all()
    assert isinstance(run.model(), AUAttentionNet)
    files = {path.name for path in run.folder.iterdir()}
    assert {"curves.png", "calibration.npz", "confusion.png"} <= files
    assert "sheet.png" not in files
    assert "sheet.png" not in (run.folder / "report.md").read_text()


def test_a_presence_network_is_scored_by_its_probabilities(presence, data):
    history = presence.history()
    assert history[-1]["loss"] < history[0]["loss"]
    assert set(history[0]) == {"epoch", "loss", "F1", "AUC", "MAE", "seconds"}
    scores = presence.finish(data)
    assert scores.intensity is None
    table = scores.presence
    assert np.isfinite(table.metrics["F1"].value).all()
    assert np.isfinite(table.metrics["AUC"].value).all()
    assert set(table.threshold) == {"probability 0.5"}
    said = Predictions.read(presence.folder / "predictions.parquet")
    assert np.isnan(said.intensity).all()
    assert ((said.presence >= 0) & (said.presence <= 1)).all()
    assert isinstance(presence.model(), AUPresenceNet)
    files = {path.name for path in presence.folder.iterdir()}
    assert {"calibration.npz", "bars.png", "report.md"} <= files
    assert not {"sheet.png", "confusion.png"} & files


def test_the_epoch_is_the_one_with_the_best_f1(presence):
    best = max(presence.history(), key=lambda row: (row["F1"], row["epoch"]))
    _, until = checkpoints.load(presence.folder / "model.keras")
    assert until[-1] == best


def test_dropout_resumes_where_it_stopped(presence, data, tmp_path):
    run = Run.create(presence.config, tmp_path / "again", resume=False)

    def stop(batch, loss):
        if run.history() and batch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.train(data, stop, silent)
    assert len(run.history()) == 1
    keras.utils.set_random_seed(99)
    Run.create(presence.config, run.folder, resume=True).train(data, silent, silent)
    for ours, theirs in zip(run.history(), presence.history(), strict=True):
        assert ours | {"seconds": 0} == theirs | {"seconds": 0}
    ours, theirs = (r.model("last.keras").weights for r in (run, presence))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(np.array(a), np.array(b))


def test_a_config_of_an_earlier_version_is_a_heatmap_network(few, tmp_path):
    values = json.loads(few.to_json())
    for field in ("network", "graph_levels", "node_layout", "graph_rank", "presence_head"):
        del values[field]
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert TrainConfig.read(tmp_path / "config.json") == few
    assert few.network == "heatmap"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "attntion"}, "no network 'attntion'. Nearest: attention"),
        ({"presence_head": "resnets"}, "no presence head 'resnets'. Nearest: resnet"),
        ({"node_layout": "x"}, "no node layout 'x'. Known: channels, released"),
        ({"graph_levels": (4,)}, "`graph_levels` must lie in 1 to 3. Received: (4,)"),
        ({"graph_rank": 0}, "`graph_rank` must be at least 1. Received: 0"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_data_is_read(options, message, few):
    with pytest.raises(ValueError, match=re.escape(message)):
        Run.check(dataclasses.replace(few, **options))
