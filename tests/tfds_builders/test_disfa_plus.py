"""DISFA+: its labels, counted by hand, and what TFDS asks of the builder."""

import shutil
import tempfile
from pathlib import Path

import pytest
import tensorflow_datasets as tfds
from hypothesis import given
from hypothesis import strategies as st

from tfau.core.errors import DatasetError
from tfds_builders.disfa_plus import disfa_plus_dataset_builder, dummy_data, layout
from tfds_builders.recordings import ManualDir, Recording, Report

FIRST, SECOND, THIRD = (
    "SN001_A1_AU1_TrailNo_1",
    "SN001_Y_HappyDescribed_TrailNo_1",
    "SN003_A1_AU1_TrailNo_1",
)


class TestDisfaPlusByTfds(tfds.testing.DatasetBuilderTestCase):
    """What TFDS itself asks of a builder."""

    DATASET_CLASS = disfa_plus_dataset_builder.Builder
    SPLITS = {"everyone": 9}  # 4 + 3, one of them without a picture, + 3

    @classmethod
    def setUpClass(cls) -> None:
        cls.EXAMPLE_DIR = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.EXAMPLE_DIR)
        dummy_data.write(Path(cls.EXAMPLE_DIR))
        super().setUpClass()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disfa_plus")
    dummy_data.write(folder)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(original, tmp_path / "disfa_plus"))


def read(folder: Path, report: Report | None = None) -> dict[str, Recording]:
    found = layout.recordings(ManualDir(folder, layout.TREE), "intensity", report or Report())
    return {one.sequence: one for one in found}


def test_labels_and_pictures_counted_by_hand(original):
    report = Report()
    found = read(original, report)
    assert {name: [(f.number, f.picture) for f in one.frames] for name, one in found.items()} == {
        FIRST: [(0, "000.jpg"), (1, "001.jpg"), (2, "002.jpg"), (3, "003.jpg")],
        SECOND: [(0, "0000.jpg"), (2, "0002.jpg")],
        THIRD: [(0, "000.JPG"), (1, "001.JPG"), (2, "002.JPG")],
    }
    assert [one.subject for one in found.values()] == ["SN001", "SN001", "SN003"]
    assert report.rows == [(SECOND, "1", "no picture")]
    for place, one in enumerate(found.values()):
        for frame in one.frames:
            expected = {
                unit: dummy_data.level(place, unit, frame.number)
                for unit in layout.UNITS["intensity"]
            }
            assert frame.intensity == expected
            assert frame.presence == {unit: level >= 2 for unit, level in expected.items()}


@pytest.mark.parametrize("missing", ["Images", "Labels", "Images/SN003"])
def test_a_missing_folder_is_named(folder, missing):
    shutil.rmtree(folder / missing)
    with pytest.raises(DatasetError, match=f"{missing} is missing") as error:
        read(folder)
    assert layout.TREE.strip() in error.value.__notes__[0]


def test_a_subject_without_labels_is_noted(folder):
    shutil.rmtree(folder / "Labels" / "SN003" / "SN003")
    report = Report()
    assert set(read(folder, report)) == {FIRST, SECOND}
    assert ("SN003", "", "no trial has labels") in report.rows


def test_a_missing_trial_or_file_is_named(folder):
    trial = folder / "Images" / "SN001" / "Y_HappyDescribed_TrailNo_1"
    shutil.rmtree(trial)
    with pytest.raises(DatasetError, match=f"{trial} is missing; it has labels"):
        read(folder)
    trial.mkdir()
    with pytest.raises(DatasetError, match=f"{trial} has no picture that"):
        read(folder)
    path = folder / "Labels" / "SN001" / "A1_AU1_TrailNo_1" / "AU15.txt"
    path.unlink()
    with pytest.raises(DatasetError, match=r"AU15\.txt is missing"):
        read(folder)


def test_files_that_disagree_are_both_named(folder):
    path = folder / "Labels" / "SN001" / "A1_AU1_TrailNo_1" / "AU15.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DatasetError, match=r"AU15\.txt and .*AU26\.txt .*has frame 3"):
        read(folder)


@pytest.mark.parametrize(
    "header", ["", "# one\n# two\n", "image intensity\n\n", "\n\n", "a\n# b\n# c\n# d\n"]
)
def test_what_counts_as_header(folder, header):
    path = folder / "Labels" / "SN001" / "A1_AU1_TrailNo_1" / "AU1.txt"
    rows = [line for line in path.read_text().splitlines() if line[0] != "#"]
    expected = read(folder)
    path.write_text(header + "\n".join(rows))
    assert read(folder) == expected


def test_a_malformed_first_line_is_no_header(folder):
    path = folder / "Labels" / "SN001" / "A1_AU1_TrailNo_1" / "AU1.txt"
    path.write_text("000.jpg     six\n" + "".join(f"00{n}.jpg 0\n" for n in (1, 2, 3)))
    with pytest.raises(DatasetError, match=r"AU1\.txt, line 1: expected picture and intensity"):
        read(folder)
    report = Report(skip_bad=True)
    assert 1 not in read(folder, report)[FIRST].frames[0].intensity
    assert report.rows[0][:2] == (str(path), "1")


def test_other_files_never_shift_labels(folder, original):
    expected = {name: one.frames for name, one in read(original).items()}
    for place in [path for path in folder.rglob("*") if path.is_dir()]:
        for name in ("AU0.txt", "AU3.txt", ".AU1.txt", "0.txt", "a.jpg", "zz.jpg", "Thumbs.db"):
            (place / name).write_bytes(b"000.jpg 5\n")
    assert {name: one.frames for name, one in read(folder).items()} == expected
    shutil.rmtree(folder / "Labels" / "SN001" / "A1_AU1_TrailNo_1")
    del expected[FIRST]
    assert {name: one.frames for name, one in read(folder).items()} == expected


@given(data=st.data(), skip_bad=st.booleans())
def test_damaged_labels_raise_only_dataset_errors(original, damaged, data, skip_bad):
    path = original / "Labels" / "SN001" / "A1_AU1_TrailNo_1" / "AU12.txt"
    content = path.read_bytes()
    others = read(original)
    try:
        path.write_bytes(damaged(data, content))
        found = read(original, Report(skip_bad=skip_bad))
    except DatasetError:
        return
    finally:
        path.write_bytes(content)
    assert (found[SECOND], found[THIRD]) == (others[SECOND], others[THIRD])
    for frame, before in zip(found[FIRST].frames, others[FIRST].frames, strict=True):
        assert frame.picture == before.picture
        assert {unit: level for unit, level in frame.intensity.items() if unit != 12} == {
            unit: level for unit, level in before.intensity.items() if unit != 12
        }
        assert 0 <= frame.intensity.get(12, 0) <= 5
