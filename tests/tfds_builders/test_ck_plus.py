"""CK+: its labels, counted by hand, and what TFDS asks of the builder."""

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
from tfds_builders.ck_plus import ck_plus_dataset_builder, dummy_data, layout
from tfds_builders.recordings import CodedFrame, ManualDir, Recording, Report


class TestCkPlusByTfds(tfds.testing.DatasetBuilderTestCase):
    """What TFDS itself asks of a builder."""

    DATASET_CLASS = ck_plus_dataset_builder.Builder
    SPLITS = {"everyone": 8}  # 5 neutral faces, 3 coded ones
    BUILDER_CONFIG_NAMES_TO_TEST = ["all", "most_10"]

    @classmethod
    def setUpClass(cls) -> None:
        cls.EXAMPLE_DIR = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.EXAMPLE_DIR)
        dummy_data.write(Path(cls.EXAMPLE_DIR))
        super().setUpClass()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ck_plus")
    dummy_data.write(folder)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(original, tmp_path / "ck_plus"))


def read(folder: Path, report: Report | None = None, config: str = "all") -> dict[str, Recording]:
    found = layout.recordings(ManualDir(folder, layout.TREE), config, report or Report())
    return {one.sequence: one for one in found}


def frames(folder: Path) -> dict[str, tuple[CodedFrame, ...]]:
    return {name: one.frames for name, one in read(folder).items()}


def facs(folder: Path, name: str) -> Path:
    (path,) = folder.joinpath("FACS_labels", "FACS", *name.split("_")).glob("[!.]*")
    return path


def test_frames_and_emotions_counted_by_hand(original):
    report = Report()
    found = read(original, report)
    assert {
        name: [(frame.number, frame.picture, frame.emotion) for frame in one.frames]
        for name, one in found.items()
    } == {
        "S005_001": [
            (1, "S005_001_00000001.png", "neutral"),
            (3, "S005_001_00000003.png", "disgust"),
        ],
        "S005_002": [(1, "S005_002_00000001.png", "neutral")],
        "S010_001": [(1, "S010_001_00000001.PNG", "neutral"), (4, "S010_001_00000004.PNG", "")],
        "S010_004": [
            (1594215, "S010_004_01594215.png", "neutral"),
            (1594216, "S010_004_01594216.png", "anger"),
        ],
        "S501_001": [(1, "S501_001_00000001.png", "neutral")],
    }
    assert [one.subject for one in found.values()] == ["S005", "S005", "S010", "S010", "S501"]
    assert report.rows == [
        ("S005_002", "", "no FACS file"),
        ("S010_004", "1594216", "a unit that is not known here: AU 61"),
        ("S501_001", "9", "no picture"),
    ]


@pytest.mark.parametrize("config", layout.UNITS)
def test_units_counted_by_hand(original, config):
    units = layout.UNITS[config]
    listed = {
        "S005_001": {9: 4.0, 17: 2.0},
        "S010_001": {12: None, 25: 5.0},
        "S010_004": {4: 3.0},
    }
    found = read(original, config=config)
    for name, seen in listed.items():
        neutral, peak = found[name].frames
        assert neutral.intensity == neutral.presence == {}
        assert peak.presence == {unit: unit in seen for unit in units}
        scored = {unit: seen.get(unit, 0.0) for unit in units}
        expected = {unit: level for unit, level in scored.items() if level is not None}
        assert peak.intensity == expected


def test_units_of_the_configs():
    assert [len(layout.UNITS[config]) for config in ("all", "most_17", "most_10")] == [20, 17, 10]
    assert set(layout.UNITS["most_10"]) < set(layout.UNITS["most_17"]) < set(layout.UNITS["all"])


def test_examples_hold_what_was_coded(original):
    aus = AUSet(layout.UNITS["all"])
    made = preparation.examples(read(original)["S010_001"], aus, 64)
    neutral, peak = [example for _, example in made]
    assert (neutral.emotion, peak.emotion) == ("neutral", "")
    assert np.isnan(neutral.presence).all()
    assert np.isnan(neutral.points[:, 2]).all()
    expected = [float(number in (12, 25)) for number in aus.numbers]
    np.testing.assert_array_equal(peak.presence, expected)
    levels = dict(zip(aus.numbers, aus.pool(peak.points[:, 2]), strict=True))
    assert np.isnan(levels.pop(12))
    assert levels.pop(25) == 5
    assert set(levels.values()) == {0}


def test_every_way_to_unpack_it_says_the_same(folder, original):
    expected = frames(original)
    (folder / "FACS_labels" / "FACS").rename(folder / "FACS")
    (folder / "cohn-kanade-images").rename(folder / "inner")
    (folder / "extended-cohn-kanade-images").mkdir()
    (folder / "inner").rename(folder / "extended-cohn-kanade-images" / "cohn-kanade-images")
    (folder / "Emotion").rename(folder / "Emotion_labels")
    assert frames(folder) == expected


def test_without_emotions_the_peak_has_none(folder, original):
    shutil.rmtree(folder / "Emotion")
    shutil.rmtree(folder / "Landmarks")
    expected = {
        name: [(frame.number, frame.intensity) for frame in found]
        for name, found in frames(original).items()
    }
    found = frames(folder)
    assert {
        name: [(frame.number, frame.intensity) for frame in found] for name, found in found.items()
    } == expected
    assert {frame.emotion for found in found.values() for frame in found} == {"", "neutral"}


@pytest.mark.parametrize("missing", ["cohn-kanade-images", "FACS_labels"])
def test_a_missing_folder_is_named(folder, missing):
    shutil.rmtree(folder / missing)
    name = missing.removesuffix("_labels")
    with pytest.raises(DatasetError, match=f"{name} is missing, or has no S005/001") as error:
        read(folder)
    assert layout.TREE.strip() in error.value.__notes__[0]


def test_labels_without_pictures_are_named(folder):
    shutil.rmtree(folder / "cohn-kanade-images" / "S010" / "004")
    with pytest.raises(DatasetError, match=r"S010_004_01594216_\w+\.txt: expected pictures of"):
        read(folder)
    report = Report(skip_bad=True)
    assert set(read(folder, report)) == {"S005_001", "S005_002", "S010_001", "S501_001"}
    assert any("malformed" in reason for _, _, reason in report.rows)


@pytest.mark.parametrize(
    ("text", "presence", "intensity", "noted"),
    [
        ("12 6\n", {12: True, 25: False}, {25: 0}, 1),  # no such intensity
        ("12 2.5\n", {12: True, 25: False}, {25: 0}, 1),
        ("12 3\n12 3\n", {12: True, 25: False}, {12: 3, 25: 0}, 0),
        ("12 3\n12 4\n", {12: True, 25: False}, {25: 0}, 1),
        ("12 3\n63 1\n", {12: True, 25: False}, {12: 3, 25: 0}, 1),  # not one of ours
        ("12 3\n1.5 2\n", {12: True}, {12: 3}, 1),  # a misprint, which could be any unit
        ("", {}, {}, 0),
        ("\r\n  \r\n", {}, {}, 0),
    ],
)
def test_what_a_facs_file_says(folder, text, presence, intensity, noted):
    facs(folder, "S005_001").write_text(text)
    report = Report()
    frame = read(folder, report)["S005_001"].frames[1]
    assert {unit: seen for unit, seen in frame.presence.items() if unit in (12, 25)} == presence
    assert {unit: level for unit, level in frame.intensity.items() if unit in (12, 25)} == intensity
    assert sum(row[0] == "S005_001" for row in report.rows) == noted


def test_a_line_that_is_skipped_could_have_been_any_unit(folder):
    path = facs(folder, "S005_001")
    path.write_text("9 4\n17 -2\n")
    with pytest.raises(DatasetError, match=r"facs\.txt, line 2: expected a unit and its intensity"):
        read(folder)
    frame = read(folder, Report(skip_bad=True))["S005_001"].frames[1]
    assert (frame.presence, frame.intensity) == ({9: True}, {9: 4})


@pytest.mark.parametrize("text", ["", "8", "2.5", "-1", "3 4", "3\n3\n", "anger"])
def test_a_malformed_emotion_is_none(folder, text):
    (path,) = (folder / "Emotion" / "S005" / "001").glob("S*.txt")
    path.write_text(text)
    with pytest.raises(DatasetError, match=r"emotion\.txt.* expected one number, 0 to 7"):
        read(folder)
    frame = read(folder, Report(skip_bad=True))["S005_001"].frames[1]
    assert (frame.emotion, frame.intensity[9]) == ("", 4)


def test_letters_of_names_may_have_any_case(folder, original):
    for path in [*folder.rglob("S005_001_*"), *folder.rglob("S005")]:
        path.rename(path.with_name(path.name.lower()))
    expected = {name: [f.presence for f in found] for name, found in frames(original).items()}
    found = frames(folder)
    assert {name: [f.presence for f in now] for name, now in found.items()} == expected
    assert found["S005_001"][1].emotion == "disgust"


def test_two_label_files_of_a_sequence_are_both_named(folder):
    path = facs(folder, "S005_001")
    other = path.with_name("S005_001_00000002_facs.txt")
    shutil.copy(path, other)
    with pytest.raises(DatasetError, match=f"{other} and {path} are both S005_001"):
        read(folder)


def test_a_label_file_in_the_folder_of_another_sequence_is_malformed(folder):
    path = facs(folder, "S005_001")
    path.rename(folder / "FACS_labels" / "FACS" / "S005" / "002" / path.name)
    with pytest.raises(DatasetError, match="expected a name that begins with S005_002"):
        read(folder)


def test_labels_are_joined_by_name(folder, original):
    """Neither stray files nor a missing label move the labels of other sequences."""
    expected = frames(original)
    for place in [path for path in folder.rglob("*") if path.is_dir()]:
        for name in ("a.png", "0.png", "zz.txt", "S000_000_00000000.png", "._x_facs.txt", ".x"):
            (place / name).write_bytes(b"25 5\n")
        if "S0" in str(place):
            (place / "000").mkdir(exist_ok=True)
    assert frames(folder) == expected
    folder.joinpath(facs(original, "S005_001").relative_to(original)).unlink()
    shutil.rmtree(folder / "FACS_labels" / "FACS" / "S005" / "002")
    found = frames(folder)
    (neutral, peak) = found.pop("S005_001")
    assert (neutral.emotion, peak.emotion) == ("neutral", "disgust")
    assert peak.presence == peak.intensity == {}  # not coded, which is not "not there"
    del expected["S005_001"]
    assert found == expected


@pytest.mark.parametrize("kind", ["FACS_labels/FACS", "Emotion"])
@given(data=st.data(), skip_bad=st.booleans())
def test_damaged_labels_raise_only_dataset_errors(original, damaged, kind, data, skip_bad):
    (path,) = (original / kind / "S005" / "001").glob("S*.txt")
    content = path.read_bytes()
    others = frames(original)
    try:
        path.write_bytes(damaged(data, content))
        read_again = read(original, Report(skip_bad=skip_bad))
    except DatasetError:
        return
    finally:
        path.write_bytes(content)
    found = {name: one.frames for name, one in read_again.items()}
    (neutral, peak) = found.pop("S005_001")
    assert neutral == others.pop("S005_001")[0]
    assert found == others
    assert all(0 <= level <= 5 for level in peak.intensity.values())
    assert set(peak.intensity) <= set(peak.presence)
    assert peak.emotion in ("", *layout.EMOTIONS)
