"""Where the crops come from that show the range of every activation."""

import hashlib

import cv2
import numpy as np
import pytest
import skimage.data

from export.calibration import calibration
from export.trained_run import TrainedRun
from tfau.core import MissingExtra, SourceError


@pytest.fixture(scope="module")
def run(run_folder):
    return TrainedRun.read(run_folder)


@pytest.fixture
def folder(tmp_path):
    """One face in a picture, one twice in another, none in a third, and what is no picture."""
    astronaut = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)[:256, 96:352]
    faces = tmp_path / "faces"
    (faces / "deeper").mkdir(parents=True)
    cv2.imwrite(str(faces / "one.png"), astronaut)
    cv2.imwrite(str(faces / "deeper" / "two.jpg"), np.hstack([astronaut, astronaut[:, ::-1]]))
    cv2.imwrite(str(faces / "none.png"), np.zeros((120, 160, 3), np.uint8))
    (faces / "notes.txt").write_text("no picture")
    (faces / ".hidden.png").write_text("no picture")
    return faces


def strength(crops):
    return crops.mean(axis=(1, 2))


def test_by_default_it_is_what_training_chose(run):
    shown = calibration("", run, strength)
    assert shown.crops is run.calibration
    assert shown.describe() == {
        "source": "training people of the run",
        "crops": 64,
        "seed": run.config.seed,
        "sha256": hashlib.sha256(run.calibration.tobytes()).hexdigest(),
    }


def test_a_folder_is_cropped_as_the_edge_does(run, folder):
    shown = calibration(str(folder), run, strength, seed=3)
    assert shown.crops.shape == (3, 64, 64, 3)
    assert shown.crops.dtype == np.uint8
    assert 30 < shown.crops.mean() < 220
    described = shown.describe()
    assert (described["source"], described["seed"]) == ("faces", 3)
    assert described == calibration(str(folder), run, strength, seed=3).describe()


def test_a_prepared_data_set_shows_its_strongest(run, tmp_path):
    pytest.importorskip("tensorflow_datasets")
    name, where = "synthetic_faces/tiny", str(tmp_path)
    shown = calibration(name, run, strength, seed=1, data_dir=where)
    assert shown.crops.shape == (256, 64, 64, 3)
    assert shown.describe()["source"].startswith(name)
    again = calibration(name, run, strength, seed=1, data_dir=where)
    assert again.describe() == shown.describe()
    other = calibration(name, run, strength, seed=2, data_dir=where)
    assert other.describe()["sha256"] != shown.describe()["sha256"]


def test_a_single_picture_will_do(run, folder):
    assert len(calibration(str(folder / "one.png"), run, strength).crops) == 1


def test_a_folder_without_a_face_is_refused(run, folder):
    for face in ("one.png", "deeper/two.jpg"):
        (folder / face).unlink()
    with pytest.raises(SourceError, match=r"no face in .*faces to calibrate with"):
        calibration(str(folder), run, strength)


def test_a_broken_picture_is_named(run, folder):
    (folder / "broken.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"broken\.png"):
        calibration(str(folder), run, strength)


def test_what_is_neither_a_folder_nor_a_data_set_is_refused(run, tmp_path):
    with pytest.raises((ValueError, MissingExtra), match="nowhere"):
        calibration("nowhere", run, strength, data_dir=str(tmp_path))
