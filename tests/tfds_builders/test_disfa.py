"""DISFA: its labels, counted by hand, and what a preparation makes of its imitation."""

import re
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import given
from hypothesis import strategies as st

import tfds_builders
from edge.face_mesh import FaceMesh
from edge.warp import crop_face
from tfau.core.action_units import AUSet
from tfau.core.align import FaceAligner
from tfau.core.errors import DatasetError, run_cli
from tfds_builders import dummy_faces
from tfds_builders.__main__ import main
from tfds_builders.disfa import dummy_data, layout
from tfds_builders.disfa.disfa_dataset_builder import Builder
from tfds_builders.recordings import ManualDir, Recording, Report

AUS = AUSet((1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26))
LABELS = "ActionUnit_Labels"


class TestDisfaByTfds(tfds.testing.DatasetBuilderTestCase):
    """What TFDS itself asks of a builder."""

    DATASET_CLASS = Builder
    SPLITS = {"everyone": 14}  # 6, 5 of which the last has no picture, and 4

    @classmethod
    def setUpClass(cls) -> None:
        cls.EXAMPLE_DIR = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.EXAMPLE_DIR)
        dummy_data.write(Path(cls.EXAMPLE_DIR))
        super().setUpClass()


@pytest.fixture(scope="module")
def dummy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disfa")
    dummy_data.write(folder)
    return folder


@pytest.fixture(scope="module")
def prepared(dummy, tmp_path_factory):
    return tfds_builders.prepare("disfa", str(tmp_path_factory.mktemp("tfds")), str(dummy))


@pytest.fixture(scope="module")
def rows(prepared, read_rows):
    return read_rows(prepared)


def read(folder: Path, report: Report | None = None) -> list[Recording]:
    manual = ManualDir(folder, layout.TREE)
    return layout.recordings(manual, "intensity", report or Report())


def test_labels_out_are_the_labels_in(dummy, rows):
    """Each file is read here again, in the plainest way, and looked up in what was prepared."""
    expected = {}
    for path in dummy.glob(f"{LABELS}/*/*.txt"):
        subject, unit = re.fullmatch(r"(SN\d+)_au(\d+)\.txt", path.name).groups()
        for line in path.read_text().split():
            frame, level = line.split(",")
            expected[subject, int(frame), int(unit)] = int(level)
    assert len(expected) == 12 * (6 + 5 + 4)
    found = {}
    for row in rows:
        levels = AUS.pool(row["points"][:, 2])
        assert (np.isin(row["points"][:, 2], levels)).all()
        np.testing.assert_array_equal(row["presence"], levels >= 2)
        for unit, level in zip(AUS.numbers, levels, strict=True):
            found[row["subject"].decode(), int(row["frame"]), unit] = int(level)
    lost = {key for key in expected if key[:2] == ("SN002", 5)}
    assert len(lost) == 12
    assert found == {key: level for key, level in expected.items() if key not in lost}


def test_each_label_has_the_picture_of_its_frame(rows):
    """The crop is made here again from every frame of the film; its own is the nearest."""
    aligner = FaceAligner(256)
    people = {b"SN001": 0, b"SN002": 1, b"SN003": 2}
    with FaceMesh() as mesh:
        crops = {}
        for subject, person in people.items():
            for number in range(6):
                image = dummy_faces.frame(person, number)
                matrix = aligner.matrix(mesh.detect(image)[0].mesh)
                crops[subject, number + 1] = crop_face(image, matrix, 256).astype(float)
    for row in rows:
        apart = {key: np.abs(crop - row["image"]).mean() for key, crop in crops.items()}
        nearest = min(apart, key=apart.__getitem__)
        assert nearest == (row["subject"], row["frame"])
        assert apart[nearest] < 8  # grey levels; the video has been compressed


def test_examples_keep_the_contract(prepared, rows):
    metadata = tfds.builder_from_directory(str(prepared)).info.metadata
    assert tuple(metadata["action_units"]) == AUS.numbers
    assert (metadata["crop_size"], metadata["presence_from"]) == (256, 2.0)
    assert "Denver" in metadata["licence"]
    left, right = (AUS.point_names.index(f"AU12_{side}") for side in ("left", "right"))
    for row in rows:
        assert row["sequence"] == row["subject"]
        assert row["group"] == row["emotion"] == b""
        assert row["points"][left, 0] > row["points"][right, 0]
        # Vertices 61 and 291 are the corners of the mouth, right and left.
        np.testing.assert_allclose(row["points"][right, :2], row["mesh"][61, :2], atol=1e-3)
        np.testing.assert_allclose(row["points"][left, :2], row["mesh"][291, :2], atol=1e-3)
        assert np.ptp(row["mesh"], axis=0).min() > 100


def test_all_that_is_left_out_is_said(prepared, read_left_out):
    rows = read_left_out(prepared)
    missing = [row for row in rows if row[2] == "no such subject in this copy"]
    assert len(missing) == 27 - 3
    assert {row[0] for row in missing}.isdisjoint({"SN001", "SN002", "SN003"})
    assert sorted(set(rows) - set(missing)) == [
        ("SN002", "5", "no picture"),
        ("SN003", "5", "not coded"),
    ]
    assert tfds_builders.summary(prepared) == (
        "14 examples; left out: 24 no such subject in this copy, 1 no picture, 1 not coded "
        "(left_out.csv)"
    )


@pytest.fixture
def copy(dummy, tmp_path):
    return shutil.copytree(dummy, tmp_path / "copy")


@pytest.mark.parametrize(
    "line", ["3,6", "3,-1", "3,2.5", "3;2", "3", "0,2", "2,2", "3,nan", "three,2", "3,2,1", "3,9"]
)
def test_a_malformed_line_stops_or_is_reported(copy, line):
    path = copy / LABELS / "SN001" / "SN001_au9.txt"
    lines = path.read_text().split()
    path.write_text("\n".join([*lines[:2], line, *lines[3:]]))
    with pytest.raises(DatasetError) as caught:
        read(copy)
    assert f"{path}, line 3: expected frame,intensity" in str(caught.value)
    assert repr(line) in str(caught.value)

    report = Report(skip_bad=True)
    frames = read(copy, report)[0].frames
    assert [row[:2] for row in report.rows if "malformed" in row[2]] == [(str(path), "3")]
    assert [9 in frame.intensity for frame in frames] == [True, True, False, True, True, True]
    assert all(frame.presence.keys() == frame.intensity.keys() for frame in frames)


def test_what_is_skipped_is_not_coded_in_the_set(copy, tmp_path, read_rows, read_left_out):
    path = copy / LABELS / "SN001" / "SN001_au9.txt"
    path.write_text(path.read_text().replace("3,", "3;"))
    folder = tfds_builders.prepare("disfa", str(tmp_path / "tfds"), str(copy), skip_bad=True)
    rows = read_rows(folder)
    assert len(rows) == 14
    column, points = AUS.index(9), AUS.point_owner == AUS.index(9)
    for row in rows:
        skipped = (row["subject"], row["frame"]) == (b"SN001", 3)
        assert np.isnan(row["presence"]).tolist() == [skipped and a == column for a in range(12)]
        assert np.isnan(row["points"][:, 2]).tolist() == [skipped and p for p in points]
    assert [row[:2] for row in read_left_out(folder) if "malformed" in row[2]] == [(str(path), "3")]


@pytest.mark.parametrize("skip_bad", [False, True])
def test_files_that_disagree_on_the_frames_are_refused(copy, skip_bad):
    path = copy / LABELS / "SN003" / "SN003_au25.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DatasetError, match=r"SN003_au25\.txt .* disagree: .* frame 4"):
        read(copy, Report(skip_bad=skip_bad))


@pytest.mark.parametrize(
    "missing",
    ["Videos_LeftCamera/LeftVideoSN002_comp.avi", f"{LABELS}/SN002/SN002_au26.txt", LABELS],
)
def test_what_is_missing_is_named_and_the_tree_is_shown(
    copy, missing, tmp_path, monkeypatch, capfd
):
    path = copy / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    words = ["x", "disfa", "--manual-dir", str(copy), "--data-dir", str(tmp_path / "tfds")]
    monkeypatch.setattr(sys, "argv", words)
    assert run_cli(main) == 2
    first, *note = capfd.readouterr().err.splitlines()
    assert first == f"tfau: {path} is missing."
    assert [line.rstrip() for line in note[1:]] == layout.TREE.strip().splitlines()
    assert not list(tmp_path.glob("tfds/**/1.0.0"))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """One person, three frames; the video is never opened."""
    folder = tmp_path_factory.mktemp("small")
    (folder / LABELS / "SN001").mkdir(parents=True)
    (folder / "Videos_LeftCamera").mkdir()
    (folder / "Videos_LeftCamera" / "LeftVideoSN001_comp.avi").touch()
    for unit in AUS.numbers:
        path = folder / LABELS / "SN001" / f"SN001_au{unit}.txt"
        path.write_bytes(b"1,0\r\n2,5\r\n3,1\r\n")
    return folder


@given(st.data(), st.booleans())
def test_whatever_a_label_file_holds_only_dataset_errors_come_out(small, damaged, data, skip_bad):
    path = small / LABELS / "SN001" / "SN001_au4.txt"
    path.write_bytes(damaged(data, path.with_name("SN001_au5.txt").read_bytes()))
    report = Report(skip_bad=skip_bad)
    recording, refused = None, ""
    try:
        (recording,) = read(small, report)
    except DatasetError as error:
        refused = str(error)
    if recording is None:
        assert "\n" not in refused
        # Where malformed lines are skipped, only what the files say together can be wrong.
        assert not skip_bad or "disagree" in refused
        return
    assert [frame.picture for frame in recording.frames] == [f.number - 1 for f in recording.frames]
    for frame in recording.frames:
        assert frame.number >= 1
        assert set(frame.intensity.values()) <= {0, 1, 2, 3, 4, 5}
        assert frame.number > 3 or frame.intensity[5] == {1: 0, 2: 5, 3: 1}[frame.number]
    skipped = sum("malformed" in reason for *_, reason in report.rows)
    uncoded = sum(4 not in frame.intensity for frame in recording.frames)
    assert uncoded <= skipped
    assert skip_bad or not skipped
