"""The road to the free weights: its stages follow one another, and none is done twice."""

import dataclasses
import json

import pytest

from tfau.pairs import retrain
from tfau.pairs.__main__ import main as learn
from tfau.pairs.learning import PairConfig

SETS = ["synthetic_faces/loose", "synthetic_faces/lively"]


@pytest.fixture
def words(tmp_path):
    for name in ("rig", "photos", "lite0"):
        (tmp_path / name).mkdir()
    folders = {"--rig": "rig", "--photo-folder": "photos", "--lite0": "lite0", "--runs": "runs"}
    return [word for k, v in folders.items() for word in (k, str(tmp_path / v))]


def finish(folder, seed=0):
    """Leaves what a finished run leaves."""
    folder.mkdir(parents=True, exist_ok=True)
    config = dataclasses.asdict(PairConfig(folder.name, seed=seed))
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "provenance.json").touch()


@pytest.fixture
def learnt(monkeypatch, tmp_path):
    said = []
    monkeypatch.setattr(retrain, "_look", lambda *_: None)
    monkeypatch.setattr(retrain, "prepare", lambda name, *_: said.append(name))

    def pretend(words):
        for option in ("--teacher", "--start"):
            if option in words:
                source = words[words.index(option) + 1]
                assert (tmp_path / "runs" / source / "provenance.json").exists()
        said.append((words[0], "--resume" in words))
        finish(tmp_path / "runs" / words[0])

    monkeypatch.setattr(retrain, "learn", pretend)
    return said


def test_every_stage_finds_what_it_starts_from(words, learnt, capsys):
    retrain.main(words)
    assert "runs/tfau_free --recipes" in capsys.readouterr().out
    assert learnt == [*SETS, *((name, False) for name in retrain.STAGES)]


def test_what_is_finished_stays_and_what_was_stopped_goes_on(words, learnt, tmp_path):
    for name in ("renders", "teacher"):
        finish(tmp_path / "runs" / name)
    (tmp_path / "runs" / "teacher" / "provenance.json").unlink()
    retrain.main(words)
    assert learnt == [*SETS, ("teacher", True), ("moved", False), ("tfau_free", False)]
    learnt.clear()
    retrain.main(words)
    assert learnt == []
    with pytest.raises(ValueError, match="renders was made with --seed 0; choose other --runs"):
        retrain.main([*words, "--seed", "1"])


def test_the_command_line_of_every_stage_is_understood(words, monkeypatch, tmp_path):
    understood = []

    def refused(words):
        with pytest.raises((ValueError, OSError)) as error:
            learn(words)
        understood.append(str(error.value))
        finish(tmp_path / "runs" / words[0])

    monkeypatch.setattr(retrain, "_look", lambda *_: None)
    monkeypatch.setattr(retrain, "prepare", lambda *_: None)
    monkeypatch.setattr(retrain, "learn", refused)
    retrain.main([*words, "--data-dir", str(tmp_path / "nothing")])
    assert len(understood) == len(retrain.STAGES)
    assert "synthetic_faces/loose" in understood[0]
    assert all("rig" in said for said in understood[1:])


def test_a_missing_folder_is_said_before_anything_is_learnt(words, learnt):
    words[1] += "s"
    with pytest.raises(ValueError, match="There is nothing at"):
        retrain.main(words)
    assert not learnt


def test_what_would_stop_a_later_stage_is_said_before_anything_is_rendered(words, monkeypatch):
    def refuse(*_):
        raise AssertionError("nothing may be rendered")

    monkeypatch.setattr(retrain, "prepare", refuse)
    with pytest.raises(ValueError, match="`rig` must be a folder with rig.json"):
        retrain.main(words)
