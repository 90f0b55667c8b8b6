"""Data sets as TFDS builders."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

import tfds_builders
from tfau.core.action_units import AUSet
from tfau.core.errors import DatasetError, run_cli
from tfau.core.faces import au_points
from tfds_builders.__main__ import main
from tfds_builders.synthetic_faces import sampling

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tfds_builders.prepare("synthetic_faces/tiny", str(tmp_path_factory.mktemp("tfds")))


@pytest.fixture(scope="module")
def rows(folder):
    """Every example by split, read as a stranger would: without our code."""
    builder = tfds.builder_from_directory(str(folder))
    return {
        split: list(tfds.as_numpy(builder.as_dataset(split=split)))
        for split in ("train", "validation", "test")
    }


def test_every_person_is_in_one_split(rows):
    people = {split: {row["subject"] for row in found} for split, found in rows.items()}
    assert {split: len(found) for split, found in people.items()} == {
        "train": 140,
        "validation": 20,
        "test": 40,
    }
    assert len(set.union(*people.values())) == 200
    assert sum(map(len, rows.values())) == 2000


def test_examples_keep_the_contract(rows):
    aus = AUSet(sampling.NUMBERS)
    for row in rows["validation"]:
        assert row["image"].shape == (128, 128, 3)
        assert row["points"].shape == (len(aus.point_names), 3)
        assert np.isfinite(row["points"]).all()
        assert (row["points"][:, 2] >= 0).all()
        assert (row["points"][:, 2] <= 5).all()
    places = np.stack([row["points"][:, :2] for row in rows["validation"]])
    assert ((places > 0) & (places < 127)).mean() > 0.99


def test_left_is_the_subjects_left(rows):
    """On the picture of a person who faces us, the subject's left is at our right."""
    names = AUSet(sampling.NUMBERS).point_names
    left, right = names.index("AU12_left"), names.index("AU12_right")
    places = np.stack([row["points"][:, 0] for row in rows["test"]])
    assert (places[:, left] > places[:, right]).all()


def test_each_person_is_also_seen_at_rest(rows):
    by_person: dict[bytes, list[float]] = {}
    for row in rows["test"]:
        by_person.setdefault(row["subject"], []).append(float(row["points"][:, 2].max()))
    assert all(min(strongest) < 0.5 for strongest in by_person.values())
    assert all(max(strongest) > 1 for strongest in by_person.values())


def test_what_is_prepared_is_not_prepared_again(folder):
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert tfds_builders.prepare("synthetic_faces/tiny", str(folder.parents[2])) == folder
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_names_that_do_not_exist_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="Known: synthetic_faces"):
        tfds_builders.prepare("faces", str(tmp_path))
    with pytest.raises(DatasetError, match="Known: tiny, full, full_N"):
        tfds_builders.prepare("synthetic_faces/huge", str(tmp_path))


@pytest.mark.skipif("TFAU_FACE_RIG" not in os.environ, reason="TFAU_FACE_RIG names no face rig")
def test_a_rendered_set_goes_on_where_it_was_stopped(tmp_path):
    def command(folder):
        words = ["synthetic_faces/full_30", "--data-dir", str(folder)]
        words += ["--manual-dir", os.environ["TFAU_FACE_RIG"]]
        return [sys.executable, "-m", "tfds_builders", *words]

    with subprocess.Popen(command(tmp_path / "a"), cwd=ROOT, start_new_session=True) as process:
        deadline = time.monotonic() + 300
        while not (first := list(tmp_path.glob("a/*/*/shards*/*.npz"))):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGKILL)
    stamp = first[0].stat().st_mtime_ns
    subprocess.run(command(tmp_path / "a"), cwd=ROOT, check=True)
    assert first[0].stat().st_mtime_ns == stamp
    prepared = tmp_path / "a" / "synthetic_faces" / "full_30" / "1.0.0"
    row = next(iter(tfds.as_numpy(tfds.builder_from_directory(prepared).as_dataset(split="test"))))
    assert row["image"].shape == (256, 256, 3)
    aus = AUSet(sampling.NUMBERS)
    np.testing.assert_allclose(au_points(row["mesh"], aus), row["points"][:, :2], atol=0.3)


@pytest.mark.parametrize("words", [[], ["--manual-dir", "nowhere"]])
def test_rendering_without_the_rig_is_one_sentence(words, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(
        sys, "argv", ["x", "synthetic_faces/full", "--data-dir", str(tmp_path), *words]
    )
    assert run_cli(main) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1, err
    assert "rig" in err or "nowhere" in err
