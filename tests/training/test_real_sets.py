"""Data sets as their owners ship them, in imitation: mixed in one run, and as the docs say."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfds_builders
from tfau.configs import TrainConfig
from tfau.core.action_units import AUSet
from tfau.data.pipeline import PreparedSet
from tfau.models.losses import HeatmapLoss
from tfau.predictions import Predictions
from tfau.training import Run, open_data

ROOT = Path(__file__).parents[2]
MARK = "=== done ==="
SETS = ("synthetic_faces/tiny", "ck_plus/all", "au_list/disfa")


@pytest.fixture(scope="module")
def mixed(data_dir, tmp_path_factory) -> PreparedSet:
    for name in SETS[1:]:
        shipped = tmp_path_factory.mktemp("shipped")
        tfds_builders.write_dummy(name.partition("/")[0], shipped)
        tfds_builders.prepare(name, data_dir, str(shipped))
    return open_data(SETS, data_dir)


def test_three_sets_train_one_network(mixed, tmp_path):
    """AU27 is coded in ck_plus alone, AU45 in synthetic_faces alone, AU12 in all three."""
    config = TrainConfig(
        name="mixed",
        dataset="+".join(SETS),
        aus=(12, 27, 45),
        crop_size=64,
        backbone="tiny",
        decoder_filters=(16, 8, 8),
        epochs=1,
        batch_size=50,
        protocol="subjects_2",
    )
    run = Run.create(config, tmp_path / "mixed", resume=False)
    run.train(mixed, lambda *_: None, lambda _: None)
    run.finish(mixed)

    predictions = Predictions.read(run.folder / "predictions.parquet")
    base = np.char.partition(predictions.dataset, "/")[:, 0]
    assert set(base) == {"synthetic_faces", "ck_plus", "au_list"}
    coded = {name: ~np.isnan(predictions.intensity_true[base == name]) for name in set(base)}
    assert [coded["synthetic_faces"].any(axis=0)[n] for n in range(3)] == [True, False, True]
    assert not coded["ck_plus"][:, 2].any()
    assert coded["au_list"][:, 0].all()
    assert not coded["au_list"][:, 1:].any()
    assert np.isfinite(predictions.intensity).all()

    model, aus = run.model(), run.aus
    loss = HeatmapLoss(config.crop_size)
    weights = model.layers[-1].trainable_variables
    kernel = max(weights, key=lambda weight: weight.shape.rank).value
    owners = aus.point_owner
    for name, blind in (("synthetic_faces", [27]), ("ck_plus", [45]), ("au_list", [27, 45])):
        rows = np.char.startswith(mixed.labels.dataset, name)
        images, labels = next(iter(mixed.batches(rows, aus, config.crop_size, 8)))
        with tf.GradientTape() as tape:
            maps = model(images, training=True)["heatmaps"]
            value = keras.ops.sum(loss(labels["points"], maps))
        slope = np.abs(tape.gradient(value, kernel).numpy()).sum(axis=(0, 1, 2))
        for column, number in enumerate(aus.numbers):
            seen = slope[owners == column]
            assert (seen == 0).all() if number in blind else (seen > 0).all(), (name, number)


def test_units_nobody_codes_are_refused(mixed, tmp_path):
    config = TrainConfig(name="x", dataset="+".join(SETS), aus=(13,), protocol="subjects_2")
    run = Run.create(config, tmp_path / "x", resume=False)
    with pytest.raises(ValueError, match="AU"):
        run.train(mixed, lambda *_: None, lambda _: None)
    assert not (tmp_path / "x").exists()


def commands() -> list[list[str]]:
    text = (ROOT / "docs" / "data_sets.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def test_the_worked_example_works(tmp_path):
    """In one process, which imports TensorFlow once."""
    assert [program for program, *_ in commands()] == 5 * ["python"]
    code = (
        "import runpy, sys\n"
        f"for _, _, name, *words in {commands()}:\n"
        "    sys.argv[1:] = words\n"
        "    try: runpy.run_module(name, run_name='__main__', alter_sys=True)\n"
        "    except SystemExit as end: assert not end.code, (name, *words)\n"
        f"    print({MARK!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TFDS_DATA_DIR": str(tmp_path / "tfds"),
            "COLUMNS": "120",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *shown, rest = done.stdout.split(MARK)
    assert not rest.strip()
    _, prepared, trained, again, threshold = shown
    assert "no picture" in prepared
    assert "disfa_ntinou_3, 3 of 3 folds" in trained
    assert "Published results are of all 27 people of disfa, ours are not." in trained
    assert "A unit counts as seen from intensity 2" in again
    assert "A unit counts as seen from intensity 1" in threshold
    folder = tmp_path / "runs" / "try"
    assert len(Predictions.read(folder / "predictions.parquet")) == 14
    assert Predictions.read(folder / "predictions.parquet").aus == AUSet(
        [1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26]
    )
    for suffix, mark in (("md", "| AU25 |"), ("csv", "AU25"), ("tex", "AU25 &")):
        assert mark in (folder / f"scores.{suffix}").read_text()
