"""Data sets as TFDS builders."""

import os
import re
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
        np.testing.assert_array_equal(row["presence"], aus.pool(row["points"][:, 2]) >= 1)
        assert row["group"] == row["emotion"] == b""
    places = np.stack([row["points"][:, :2] for row in rows["validation"]])
    assert ((places > 0) & (places < 127)).mean() > 0.99


def test_metadata_say_what_the_examples_do_not(folder):
    metadata = tfds.builder_from_directory(str(folder)).info.metadata
    assert tuple(metadata["action_units"]) == sampling.NUMBERS
    assert (metadata["crop_size"], metadata["presence_from"]) == (128, 1.0)
    assert "CC0" in metadata["licence"]
    assert tfds_builders.summary(folder) == "2,000 examples"


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
    with pytest.raises(DatasetError, match="Known: tiny, full, .*full_N"):
        tfds_builders.prepare("synthetic_faces/huge", str(tmp_path))
    with pytest.raises(DatasetError, match=r"disfa has no config 'huge'\. Known: intensity\."):
        tfds_builders.prepare("disfa/huge", str(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif("TFAU_FACE_RIG" not in os.environ, reason="TFAU_FACE_RIG names no face rig")
def test_a_rendered_set_goes_on_where_it_was_stopped(tmp_path):
    def command(folder):
        words = ["synthetic_faces/full_30", "--data-dir", str(folder)]
        words += ["--manual-dir", os.environ["TFAU_FACE_RIG"]]
        return [sys.executable, "-m", "tfds_builders", *words]

    with subprocess.Popen(command(tmp_path / "a"), cwd=ROOT, start_new_session=True) as process:
        deadline = time.monotonic() + 300
        while not (first := list(tmp_path.glob("a/*/*/shards*/faces*.npz"))):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGKILL)
    stamp = first[0].stat().st_mtime_ns
    subprocess.run(command(tmp_path / "a"), cwd=ROOT, check=True)
    assert first[0].stat().st_mtime_ns == stamp
    prepared = tmp_path / "a" / "synthetic_faces" / "full_30" / "1.2.0"
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


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["x", *words])
    return run_cli(main)


def test_an_imitation_is_written_and_prepared(tmp_path, monkeypatch, capfd):
    source = tmp_path / "disfa"
    assert run(monkeypatch, "disfa", "--write-dummy", str(source)) == 0
    places = ["--manual-dir", str(source), "--data-dir", str(tmp_path / "tfds")]
    assert run(monkeypatch, "disfa/intensity", "--processes", "1", *places) == 0
    out, err = capfd.readouterr()
    prepared = tmp_path / "tfds" / "disfa" / "intensity" / "1.0.0"
    assert f"disfa/intensity is prepared in {prepared}: 14 examples; left out: 24 no such" in out
    assert re.search(
        r"^15 frames in [\d.]+ s, [\d.]+ frames/s \(work of all processes: "
        r"decode [\d.]+ s, mesh [\d.]+ s, crop [\d.]+ s, write [\d.]+ s\)\.$",
        err,
        re.MULTILINE,
    )
    reasons = ["odd: line 1", "odd: line 2", "b", "c", "d", "e", "f", "g", "h"]
    rows = "".join(f"SN001,1,{reason}\n" for reason in reasons)
    (prepared / "left_out.csv").write_text(f"where,frame,reason\n{rows}")
    assert tfds_builders.summary(prepared) == (
        "14 examples; left out: 2 odd, 1 b, 1 c, 1 d, 1 e, 1 f, 2 for other reasons (left_out.csv)"
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["disfa", "--write-dummy", "."], ". must be an empty or a new folder."),
        (["synthetic_faces", "--write-dummy", "new"], "synthetic_faces needs no imitation"),
        (["faces", "--write-dummy", "new"], "There is no data set 'faces'."),
        (["disfa", "--data-dir", "new"], "disfa needs `--manual-dir`"),
        (["disfa", "--data-dir", "new", "--manual-dir", "gone"], "There is no folder gone."),
        (["disfa", "--processes", "0"], "`processes` must be at least 1. Received: 0."),
        (["synthetic_faces/tiny", "--data-dir", "new", "--beam", "X"], "synthetic_faces does not"),
    ],
)
def test_what_is_wrong_is_one_sentence(words, sentence, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "something").touch()
    assert run(monkeypatch, *words) == 2
    assert capfd.readouterr().err.startswith(f"tfau: {sentence}")
    assert not list(tmp_path.glob("new/*/*/*.*.*"))


def test_nothing_is_imported_until_it_is_asked_for():
    code = "import sys, tfds_builders; print([n for n in sys.modules if n.startswith('tfds_b')])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['tfds_builders']"


@pytest.mark.parametrize("name", [name for name in tfds_builders.NAMES if "synthetic" not in name])
def test_every_set_says_what_it_is(name, tmp_path):
    builder = tfds_builders.builder(name, str(tmp_path))
    assert builder.name == name
    assert builder.BUILDER_CONFIGS
    for config in builder.BUILDER_CONFIGS:
        info = tfds_builders.builder(f"{name}/{config.name}", str(tmp_path)).info
        assert info.metadata["action_units"] == list(builder.LAYOUT.UNITS[config.name])
        assert info.metadata["licence"]
        assert info.metadata["description"] == config.description
    assert "is read" in builder.__doc__ or "are read" in builder.__doc__
    assert (ROOT / "tfds_builders" / name / "README.md").exists()
    assert "year" in info.citation
