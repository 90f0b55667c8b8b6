"""BP4D and BP4D+: labels counted by hand, both releases, and what TFDS asks of the builders."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import given
from hypothesis import strategies as st

from tfau.core.action_units import AUSet
from tfau.core.errors import DatasetError
from tfds_builders import preparation
from tfds_builders.bp4d import bp4d_dataset_builder, dummy_data, layout
from tfds_builders.bp4d_plus import bp4d_plus_dataset_builder
from tfds_builders.bp4d_plus import dummy_data as plus_data
from tfds_builders.bp4d_plus import layout as plus_layout
from tfds_builders.recordings import ManualDir, Recording, Report


class TestBp4dByTfds(tfds.testing.DatasetBuilderTestCase):
    """What TFDS itself asks of a builder."""

    DATASET_CLASS = bp4d_dataset_builder.Builder
    SPLITS = {"everyone": 10}  # 5 + 3 + 4 coded; one has no picture, one was given up
    WRITE = staticmethod(dummy_data.write)

    @classmethod
    def setUpClass(cls) -> None:
        cls.EXAMPLE_DIR = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.EXAMPLE_DIR)
        cls.WRITE(Path(cls.EXAMPLE_DIR))
        super().setUpClass()


class TestBp4dPlusByTfds(TestBp4dByTfds):
    """The same of BP4D+."""

    DATASET_CLASS = bp4d_plus_dataset_builder.Builder
    SPLITS = {"everyone": 6}  # 3 + 2 + 2 coded; one has no picture
    WRITE = staticmethod(plus_data.write)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bp4d")
    dummy_data.write(folder)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(original, tmp_path / "bp4d"))


def read(folder: Path, config: str, report: Report | None = None) -> dict[str, Recording]:
    found = layout.recordings(ManualDir(folder, layout.TREE), config, report or Report())
    return {one.sequence: one for one in found}


def as_fera(folder: Path) -> Path:
    """Arranges a copy as FERA 2015 shipped it."""
    (folder / "Sequences").rename(folder / "BP4D-training")
    coding = folder / "AUCoding"
    for path in (coding / "AU_OCC").iterdir():
        path.rename(coding / path.name)
    (coding / "AU_OCC").rmdir()
    (coding / "AU_INT").rename(folder / "AU Intensity Codes3.0")
    return folder


@pytest.mark.parametrize("config", layout.UNITS)
def test_labels_and_pictures_counted_by_hand(original, config):
    report = Report()
    found = read(original, config, report)
    assert {name: [frame.number for frame in one.frames] for name, one in found.items()} == {
        "F001_T1": [2, 3, 5, 6],
        "F001_T2": [1, 2, 3],
        "M002_T1": [1, 2, 3, 4],
    }
    assert {name: (one.subject, one.group, one.split) for name, one in found.items()} == {
        "F001_T1": ("F001", "female", "everyone"),
        "F001_T2": ("F001", "female", "everyone"),
        "M002_T1": ("M002", "male", "everyone"),
    }
    # Frames count from 1, pictures from 0.
    assert [frame.picture for frame in found["F001_T1"].frames] == [
        "0001.jpg",
        "0002.jpg",
        "0004.jpg",
        "0005.jpg",
    ]
    assert found["F001_T2"].frames[0].picture == "T2/000.jpg"
    assert found["M002_T1"].frames[3].picture == "003.JPG"
    assert report.rows == [("F001_T1", "4", "no picture")]


def test_occurrences_are_those_of_the_tables(original):
    for place, one in enumerate(read(original, "occurrence").values()):
        for frame in one.frames:
            assert frame.intensity == {}
            if frame.number == dummy_data.UNCODED.get(one.sequence):
                assert not frame.is_coded
                continue
            coded = set(layout.UNITS["occurrence"])
            if dummy_data.NINE.get(one.sequence, (None,))[0] == frame.number:
                coded.remove(dummy_data.NINE[one.sequence][1])
            expected = {unit: dummy_data.seen(place, unit, frame.number) for unit in coded}
            assert frame.presence == expected


def test_intensities_are_those_of_the_files(original):
    for place, one in enumerate(read(original, "intensity").values()):
        for frame in one.frames:
            if frame.number == dummy_data.UNCODED.get(one.sequence):
                assert not frame.is_coded
                continue
            coded = set(layout.UNITS["intensity"])
            if dummy_data.NINE.get(one.sequence, (None,))[0] == frame.number:
                coded.remove(dummy_data.NINE[one.sequence][1])
            expected = {unit: dummy_data.level(place, unit, frame.number) for unit in coded}
            assert frame.intensity == expected
            assert frame.presence == {unit: level >= 1 for unit, level in expected.items()}


def test_a_frame_that_is_marked_as_unreliable_is_not_coded(folder):
    path = folder / "AUCoding" / "AU_OCC" / "F001_T1.csv"
    header, first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([header, f"{first[:-1]}1", *rest]))
    frames = read(folder, "occurrence")["F001_T1"].frames
    assert [frame.is_coded for frame in frames] == [False, True, True, True]


@pytest.mark.parametrize("config", layout.UNITS)
def test_the_release_of_fera_says_the_same(folder, original, config):
    expected = {name: one.frames for name, one in read(original, config).items()}
    fera = read(as_fera(folder), config)
    assert {name: one.frames for name, one in fera.items()} == expected
    coding = folder / "AUCoding"
    coding.rename(folder / "inner")  # the other ways in which it is unpacked
    coding.mkdir()
    (folder / "inner").rename(coding / "AUCoding")
    codes = folder / "AU Intensity Codes3.0"
    codes.rename(folder / "inner")
    (folder / "AU-Intensity-Codes3.0").mkdir()
    (folder / "inner").rename(folder / "AU-Intensity-Codes3.0" / "Project")
    assert {name: one.frames for name, one in read(folder, config).items()} == expected


@pytest.mark.parametrize(
    ("first", "kept", "picture_of_5"),
    [
        (0, range(7), 4),  # all pictures, from 0
        (1, range(8), 5),  # all pictures, from 1
        (0, range(1, 6), 4),  # only coded pictures, of a count from 0
        (1, range(2, 7), 5),  # only coded pictures, of a count from 1
    ],
)
def test_how_pictures_are_counted_follows_from_their_numbers(folder, first, kept, picture_of_5):
    place = folder / "Sequences" / "F001" / "T1"
    for path in list(place.glob("*.jpg")):
        path.rename(place / f"new{int(path.stem) + first}.jpg")
    for path in list(place.glob("*.jpg")):
        number = int(path.stem[3:])
        if number in kept:
            path.rename(place / f"{number:02d}.jpg")
        else:
            path.unlink()
    for name in ("F001_T2.csv", "M002_T1.csv"):
        (folder / "AUCoding" / "AU_OCC" / name).unlink()
    frames = {frame.number: frame for frame in read(folder, "occurrence")["F001_T1"].frames}
    assert frames[5].picture == f"{picture_of_5:02d}.jpg"
    assert set(frames) == {2, 3, 5, 6}


def test_what_was_unpacked_counts_before_its_zip(folder):
    place = folder / "Sequences" / "F001"
    shutil.unpack_archive(place / "T2.zip", place)
    assert read(folder, "occurrence")["F001_T2"].media == place / "T2"


def test_other_leading_zeros_in_names_are_the_same_recording(folder, original):
    (folder / "Sequences" / "F001").rename(folder / "Sequences" / "F01")
    expected = {name: one.frames for name, one in read(original, "intensity").items()}
    found = {name: one.frames for name, one in read(folder, "intensity").items()}
    assert found == expected


def test_labels_without_pictures_name_what_is_missing(folder):
    shutil.rmtree(folder / "Sequences" / "M002" / "T1")
    with pytest.raises(DatasetError, match=r"Sequences/M002/T1 is missing.*M002_T1\.csv") as error:
        read(folder, "occurrence")
    assert layout.TREE.strip() in error.value.__notes__[0]
    (folder / "Sequences" / "M002" / "T1").mkdir()
    with pytest.raises(DatasetError, match="M002/T1 has no picture of the frames that"):
        read(folder, "intensity")


def test_a_missing_file_of_one_unit_is_named(folder):
    (folder / "AUCoding" / "AU_INT" / "AU12" / "M002_T1_AU12.csv").unlink()
    with pytest.raises(DatasetError, match=r"AU12/M002_T1_AU12\.csv is missing"):
        read(folder, "intensity")
    shutil.rmtree(folder / "AUCoding" / "AU_INT" / "AU06")
    with pytest.raises(DatasetError, match=r"AU06/F001_T1_AU06\.csv is missing"):
        read(folder, "intensity")


def test_files_that_disagree_are_both_named(folder):
    path = folder / "AUCoding" / "AU_INT" / "AU12" / "F001_T1_AU12.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    for skip_bad in (False, True):
        with pytest.raises(DatasetError, match=r"_AU12\.csv and .*_AU17\.csv .*has frame 6"):
            read(folder, "intensity", Report(skip_bad=skip_bad))


def test_two_files_of_one_recording_are_both_named(folder):
    labels = folder / "AUCoding" / "AU_OCC"
    shutil.copy(labels / "F001_T1.csv", labels / "F01_T1.csv")
    with pytest.raises(DatasetError, match=r"F001_T1\.csv and .*F01_T1\.csv are both F001_T1"):
        read(folder, "occurrence")
    place = folder / "Sequences" / "F001" / "T1"
    shutil.copy(place / "0001.jpg", place / "001.jpg")
    with pytest.raises(DatasetError, match=r"two pictures 1: 0001\.jpg and 001\.jpg"):
        read(folder, "intensity")


@pytest.mark.parametrize("missing", ["Sequences", "AUCoding", "AUCoding/AU_OCC", "AUCoding/AU_INT"])
def test_a_missing_folder_is_named(folder, missing):
    shutil.rmtree(folder / missing)
    config = "intensity" if missing.endswith("INT") else "occurrence"
    with pytest.raises(DatasetError, match=f"{missing}.* is missing"):
        read(folder, config)


def test_a_damaged_zip_is_named(folder):
    path = folder / "Sequences" / "F001" / "T2.zip"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetError, match=r"T2\.zip is damaged"):
        read(folder, "occurrence")


@pytest.mark.parametrize("name", ["AU_OCC/M002_T1.csv", "AU_INT/AU06/M002_T1_AU06.csv"])
def test_a_frame_that_is_coded_twice_is_malformed(folder, name):
    path = folder / "AUCoding" / name
    path.write_text(path.read_text() + path.read_text().splitlines()[-1])
    with pytest.raises(DatasetError, match=r"line \d: expected .*a new frame"):
        read(folder, "intensity" if "INT" in name else "occurrence")


def test_a_malformed_line_ends_it_or_is_skipped(folder):
    path = folder / "AUCoding" / "AU_INT" / "AU12" / "F001_T1_AU12.csv"
    path.write_text(path.read_text().replace("3,", "3;", 1))
    with pytest.raises(DatasetError, match=r"AU12\.csv, line 2: expected frame,intensity"):
        read(folder, "intensity")
    report = Report(skip_bad=True)
    frames = {frame.number: frame for frame in read(folder, "intensity", report)["F001_T1"].frames}
    assert set(frames[3].intensity) == {6, 10, 14, 17}
    assert [row[:2] for row in report.rows] == [(str(path), "2"), ("F001_T1", "4")]


@given(data=st.data())
def test_a_damaged_zip_raises_only_dataset_errors(original, data):
    path = original / "Sequences" / "F001" / "T2.zip"
    content = path.read_bytes()
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):  # the directory of a zip is at its end
        damaged[-data.draw(st.integers(1, 300))] = data.draw(st.integers(0, 255))
    try:
        path.write_bytes(damaged)
        found = read(original, "occurrence")
    except DatasetError:
        return
    finally:
        path.write_bytes(content)
    assert set(found) == {"F001_T1", "F001_T2", "M002_T1"}


@pytest.mark.parametrize("config", layout.UNITS)
def test_other_files_never_shift_labels(folder, original, config):
    expected = {name: one.frames for name, one in read(original, config).items()}
    for place in [path for path in folder.rglob("*") if path.is_dir()]:
        for name in ("A.csv", "0.csv", ".F001_T1.csv", "F001.csv", "a.jpg", "zz.txt", "Thumbs.db"):
            (place / name).write_bytes(b"1,2,3\n")
    assert {name: one.frames for name, one in read(folder, config).items()} == expected
    for path in folder.rglob("F001_T1*.csv"):
        path.unlink()
    del expected["F001_T1"]
    assert {name: one.frames for name, one in read(folder, config).items()} == expected


@pytest.mark.parametrize(
    ("config", "name"),
    [("occurrence", "AU_OCC/F001_T2.csv"), ("intensity", "AU_INT/AU14/F001_T2_AU14.csv")],
)
@given(data=st.data(), skip_bad=st.booleans())
def test_damaged_labels_raise_only_dataset_errors(original, damaged, config, name, data, skip_bad):
    path = original / "AUCoding" / name
    content = path.read_bytes()
    others = read(original, config)
    report = Report(skip_bad=skip_bad)
    try:
        path.write_bytes(damaged(data, content))
        found = read(original, config, report)
    except DatasetError:
        return
    finally:
        path.write_bytes(content)
    assert found["F001_T1"] == others["F001_T1"]
    assert found["M002_T1"] == others["M002_T1"]
    for frame in found["F001_T2"].frames if "F001_T2" in found else ():
        assert all(0 <= level <= 5 for level in frame.intensity.values())


def test_examples_hold_what_was_coded(original):
    one = read(original, "occurrence")["F001_T2"]
    aus = AUSet(layout.UNITS["occurrence"])
    made = [example for _, example in preparation.examples(one, aus, 64)]
    frame, unit = dummy_data.NINE["F001_T2"]
    for example in made:
        expected = [float(dummy_data.seen(1, number, example.frame)) for number in aus.numbers]
        if example.frame == frame:
            expected[aus.index(unit)] = np.nan
        np.testing.assert_array_equal(example.presence, expected)
        assert np.isnan(example.points[:, 2]).all()
        assert (example.subject, example.group) == ("F001", "female")
    assert len(made) == 3


def read_plus(folder: Path, config: str) -> dict[str, Recording]:
    found = plus_layout.recordings(ManualDir(folder, plus_layout.TREE), config, Report())
    return {one.sequence: one for one in found}


@pytest.mark.parametrize("config", plus_layout.UNITS)
def test_bp4d_plus_counted_by_hand(tmp_path, config):
    plus_data.write(tmp_path)
    found = read_plus(tmp_path, config)
    assert {name: [(f.number, f.picture) for f in one.frames] for name, one in found.items()} == {
        "F001_T1": [(n + 1, f"F001/T1/000{n}.jpg") for n in (0, 1, 2)],
        "F001_T6": [(n + 1, f"F001/T6/000{n}.jpg") for n in (1, 2)],
        "M002_T8": [(1, "0000.jpg")],
    }
    place, frame = 1, found["F001_T6"].frames[0]
    units = plus_layout.UNITS[config]
    if config == "intensity":
        assert frame.intensity == {unit: dummy_data.level(place, unit, 2) for unit in units}
    else:
        assert frame.presence == {unit: dummy_data.seen(place, unit, 2) for unit in units}


def test_bp4d_plus_knows_only_units_that_its_tables_have():
    assert set(plus_layout.UNITS["occurrence_22"]) < set(plus_data.HEADER)
    assert len(plus_layout.UNITS["occurrence_22"]) == 22
