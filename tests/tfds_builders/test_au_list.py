"""Lists with places and intensities: read as published, and what TFDS asks of the builder."""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import given
from hypothesis import strategies as st

from tfau.core.action_units import ACTION_UNITS, AUSet
from tfau.core.errors import DatasetError
from tfau.core.faces import au_points
from tfds_builders import preparation
from tfds_builders.au_list import au_list_dataset_builder, dummy_data, layout
from tfds_builders.recordings import CodedFrame, ManualDir, Recording, Report

PUBLISHED = (
    *(55.0, 105.5, 3, 198.5, 104.5, 3, 102, 166, 4, 158, 165, 4, 84, 164, 2, 174, 164, 2),
    *(61.0, 156.5, 4, 192.5, 155.0, 4, 131, 191, 2, 130.5, 210.5, 2),
)
"""A published sample row: a face of 256 px."""


class TestAuListByTfds(tfds.testing.DatasetBuilderTestCase):
    """What TFDS itself asks of a builder."""

    DATASET_CLASS = au_list_dataset_builder.Builder
    SPLITS = {"train": 2, "validation": 2, "test": 2}  # one of three to train with is missing

    @classmethod
    def setUpClass(cls) -> None:
        cls.EXAMPLE_DIR = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.EXAMPLE_DIR)
        dummy_data.write(Path(cls.EXAMPLE_DIR))
        super().setUpClass()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("au_list")
    dummy_data.write(folder)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(original, tmp_path / "au_list"))


def read(folder: Path, config: str = "bp4d", report: Report | None = None) -> dict[str, Recording]:
    found = layout.recordings(ManualDir(folder, layout.TREE), config, report or Report())
    return {one.sequence: one for one in found}


def frame_of(folder: Path, values: object, config: str = "bp4d", **more: object) -> CodedFrame:
    """Reads a list with one entry."""
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"")
    (folder / "list.json").write_text(json.dumps([{"imgpath": "a.jpg", "AUs": values} | more]))
    ((frame,),) = (one.frames for one in read(folder, config).values())
    return frame


@pytest.mark.parametrize("config", layout.UNITS)
def test_pictures_and_people_counted_by_hand(original, config):
    report = Report()
    found = read(original, config, report)
    assert {
        name: (one.subject, one.split, [(frame.number, frame.picture) for frame in one.frames])
        for name, one in found.items()
    } == {
        "M017/T8": ("M017", "train", [(3, "3.jpg"), (11, "11.jpg")]),
        "F001/T8": ("F001", "validation", [(7, "7.jpg"), (8, "08.JPG")]),
        "F002/crops": ("F002", "test", [(1, "a.jpg"), (2, "b.jpg")]),
    }
    name = f"train_{config.upper()}.json"
    assert report.rows == [(name, "2", "no picture: data0/X/M017/T8/010.jpg")]


@pytest.mark.parametrize("config", layout.UNITS)
def test_places_and_intensities_are_those_of_the_list(original, config):
    for one in read(original, config).values():
        for step, frame in enumerate(one.frames):
            number = step if one.split == "test" else frame.number
            values = dummy_data.values(config, number)
            expected: dict[str, tuple[float, float]] = {}
            for place, unit in enumerate(dummy_data.PAIRS[config]):
                x, y, level = values[3 * place : 3 * place + 3]
                assert frame.intensity[unit] == level
                assert frame.presence[unit] == (level >= layout.PRESENT_FROM[config])
                names = sorted(ACTION_UNITS[unit].points, key=_first_to_last)
                own = [p for p, u in enumerate(dummy_data.PAIRS[config]) if u == unit]
                if len(own) > 1 and place in (own[0], own[-1]):
                    expected[names[0 if place == own[0] else 1]] = (x, y)
            assert frame.places == expected
            assert frame.sides == {}


def _first_to_last(name: str) -> int:
    return ("right", "left", "upper", "lower").index(name.partition("_")[2])


def test_a_published_row_says_what_it_says(tmp_path):
    frame = frame_of(tmp_path / "x", PUBLISHED)
    assert frame.intensity == {6: 3, 10: 4, 12: 2, 14: 4, 17: 2}
    assert frame.places["AU06_right"] == (55.0, 105.5)
    assert frame.places["AU14_left"] == (192.5, 155.0)
    assert frame.places["AU17_lower"] == (130.5, 210.5)


def test_the_sides_of_a_unit_may_differ(tmp_path):
    values = list(PUBLISHED)
    values[2] = 0  # AU6, the subject's right
    frame = frame_of(tmp_path / "x", values)
    assert frame.sides == {"AU06_right": 0, "AU06_left": 3}
    assert frame.intensity == {10: 4, 12: 2, 14: 4, 17: 2}
    assert frame.presence[6]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_the_three_points_of_au9(tmp_path, order):
    points = [(100, 50, 1), (128, 52, 2), (156, 50, 4)]  # subject's right, middle, left
    values = dummy_data.values("disfa", 0)
    start = 3 * dummy_data.PAIRS["disfa"].index(9)
    values[start : start + 9] = [number for place in order for number in points[place]]
    frame = frame_of(tmp_path / "x", values, "disfa")
    assert frame.sides == {"AU09_right": 1, "AU09_left": 4}
    assert (frame.places["AU09_right"], frame.places["AU09_left"]) == ((100, 50), (156, 50))
    values[start + 3 * order.index(1) + 2] = 5  # beyond both: to neither side
    with pytest.raises(DatasetError, match="as entry 1 a picture and 72 numbers"):
        frame_of(tmp_path / "y", values, "disfa")


def test_the_one_point_of_au4_has_no_place(tmp_path):
    frame = frame_of(tmp_path / "x", dummy_data.values("disfa", 0), "disfa")
    assert frame.intensity[4] == 4
    assert not any(name.startswith("AU04") for name in frame.places)


def test_examples_are_marked_where_the_list_says(original):
    aus = AUSet(layout.UNITS["disfa"])
    one = read(original, "disfa")["M017/T8"]
    made = list(preparation.examples(one, aus, 64))
    assert len(made) == 2
    for frame, example in made:
        free = au_points(example.mesh, aus)
        named = [aus.point_names.index(name) for name in frame.places]
        rest = [p for p, name in enumerate(aus.point_names) if name not in frame.places]
        np.testing.assert_allclose(example.points[rest, :2], free[rest], atol=1e-4)
        # One transformation leads from all places in the picture to those in the crop.
        places = np.array(list(frame.places.values()))
        moved = np.column_stack([places, np.ones(len(places))])
        solved = np.linalg.lstsq(moved, example.points[named, :2], rcond=None)[0]
        np.testing.assert_allclose(moved @ solved, example.points[named, :2], atol=1e-2)
        for name, place in zip(frame.places, example.points[named, :2], strict=True):
            assert not np.allclose(place, free[aus.point_names.index(name)], atol=0.1)


def test_an_example_keeps_what_differs_between_the_sides(folder):
    aus = AUSet(layout.UNITS["bp4d"])
    path = folder / "train_BP4D.json"
    entries = json.loads(path.read_text())
    entries[0]["AUs"][2:6:3] = [1, 4]  # AU6: the subject's right, then the left
    path.write_text(json.dumps(entries))
    one = read(folder)["M017/T8"]
    (_, example), _ = preparation.examples(one, aus, 64)
    levels = dict(zip(aus.point_names, example.points[:, 2], strict=True))
    assert (levels["AU06_right"], levels["AU06_left"]) == (1, 4)
    assert levels["AU10_right"] == levels["AU10_left"] == one.frames[0].intensity[10]


@pytest.mark.parametrize(
    ("entry", "subject", "sequence"),
    [
        ({"imgpath": "M017/T8/3.jpg"}, "M017", "M017/T8"),
        ({"imgpath": "./M017/T8/3.jpg"}, "M017", "M017/T8"),
        ({"imgpath": "C:\\data\\M017\\T8\\3.jpg"}, "M017", "M017/T8"),
        ({"imgpath": "/data0/BP4D/m017/T8/3.JPG"}, "M017", "M017/T8"),
        ({"imgpath": "M017/T8/3.jpg", "subject": "p1"}, "p1", "p1/M017/T8"),
        ({"imgpath": "M017/T8/3.jpg", "subject": 7}, "7", "7/M017/T8"),
        ({"imgpath": "3.jpg"}, "3", "3"),
        ({"imgpath": "3.jpg", "subject": "p1"}, "p1", "p1"),
    ],
)
def test_who_is_seen(folder, entry, subject, sequence):
    for path in [*folder.glob("*.json"), *folder.glob("*.TXT")]:
        path.unlink()
    shutil.copy(folder / "M017" / "T8" / "3.jpg", folder)
    (folder / "some.json").write_text(json.dumps([entry | {"AUs": PUBLISHED}]))
    ((name, one),) = read(folder).items()
    assert (one.subject, name, one.split) == (subject, sequence, Recording.split)


def test_text_and_json_say_the_same(folder):
    expected = read(folder)["F001/T8"].frames
    values = {path: dummy_data.values("bp4d", number) for path, number in (("7", 7), ("08", 8))}
    entries = [{"imgpath": f"F001/T8/{name}.jpg", "AUs": found} for name, found in values.items()]
    (folder / "val_BP4D.TXT").unlink()
    (folder / "validate.json").write_text(json.dumps(entries))
    assert read(folder)["F001/T8"].frames == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry | {"AUs": entry["AUs"][:-1]},
        lambda entry: entry | {"AUs": [*entry["AUs"], 1, 1, 1]},
        lambda entry: entry | {"AUs": [*entry["AUs"][:-1], 6]},
        lambda entry: entry | {"AUs": [*entry["AUs"][:-1], -1]},
        lambda entry: entry | {"AUs": [*entry["AUs"][:-1], float("nan")]},
        lambda entry: entry | {"AUs": [float("inf"), *entry["AUs"][1:]]},
        lambda entry: entry | {"AUs": [10**400, *entry["AUs"][1:]]},
        lambda entry: entry | {"AUs": ["1", *entry["AUs"][1:]]},
        lambda entry: entry | {"AUs": [True, *entry["AUs"][1:]]},
        lambda entry: entry | {"AUs": None},
        lambda entry: entry | {"imgpath": 3},
        lambda entry: entry | {"imgpath": "../M017/T8/11.jpg"},
        lambda entry: entry | {"imgpath": "M017/T8/11"},
        lambda entry: entry | {"subject": None},
        lambda entry: entry | {"subject": True},
        lambda entry: {"imgpath": entry["imgpath"]},
        lambda entry: [entry],
    ],
)
def test_a_malformed_entry_is_named_by_file_and_number(folder, change):
    path = folder / "train_BP4D.json"
    entries = json.loads(path.read_text())
    path.write_text(json.dumps([*entries[:2], change(entries[2])]))
    expected = r"train_BP4D\.json: expected as entry 3 a picture and 30 numbers"
    with pytest.raises(DatasetError, match=expected):
        read(folder)
    report = Report(skip_bad=True)
    assert [frame.number for frame in read(folder, report=report)["M017/T8"].frames] == [3]
    assert "entry 3" in report.rows[0][2]


@pytest.mark.parametrize("line", ["F001/T8/08.jpg 1 2 3", "F001/T8/08.jpg", "1 " * 31, "# note"])
def test_a_malformed_line_is_named(folder, line):
    path = folder / "val_BP4D.TXT"
    first = path.read_text().splitlines()[0]
    path.write_text(f"{first}\n\n{line}\n")
    with pytest.raises(DatasetError, match=r"val_BP4D\.TXT, line 3: expected a picture and 30"):
        read(folder)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"[" * 9999, b"\xff\xfe", b"[1", b"1" * 9999, b"NaN"]
)
def test_a_list_that_is_none_is_named(folder, content):
    (folder / "train_BP4D.json").write_bytes(content)
    with pytest.raises(DatasetError, match=r"train_BP4D\.json.* expected"):
        read(folder)
    assert set(read(folder, report=Report(skip_bad=True))) == {"F001/T8", "F002/crops"}


def test_without_lists_or_pictures_it_says_so(folder, tmp_path):
    shutil.rmtree(folder / "M017")
    with pytest.raises(DatasetError, match=r"none of the pictures of .*e\.g\. data0/X/M017/T8/3"):
        read(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"train\.json is missing") as error:
        read(tmp_path / "empty")
    assert layout.TREE.strip() in error.value.__notes__[0]


def test_a_picture_that_is_listed_twice_is_malformed(folder):
    path = folder / "val_BP4D.TXT"
    path.write_text(2 * f"{path.read_text().splitlines()[0]}\n")
    with pytest.raises(DatasetError, match=r"val_BP4D\.TXT, line 2: expected a picture not listed"):
        read(folder)


def test_labels_are_joined_by_name(folder, original):
    expected = {name: one.frames for name, one in read(original).items()}
    for place in [path for path in folder.rglob("*") if path.is_dir()]:
        for name in ("0.jpg", "9.jpg", "zz.png", ".3.jpg", "notes.md"):
            (place / name).write_bytes(b"")
    path = folder / "train_BP4D.json"
    path.write_text(json.dumps(json.loads(path.read_text())[::-1]))  # another order
    assert {name: one.frames for name, one in read(folder).items()} == expected
    path.write_text(json.dumps(json.loads(path.read_text())[:-1]))
    (*_, last) = expected["M017/T8"]
    assert read(folder)["M017/T8"].frames == (last,)


@pytest.mark.parametrize("name", ["train_BP4D.json", "val_BP4D.TXT"])
@given(data=st.data(), skip_bad=st.booleans())
def test_damaged_lists_raise_only_dataset_errors(original, damaged, name, data, skip_bad):
    path = original / name
    content = path.read_bytes()
    others = read(original)
    # JSON has no lines of its own.
    text = content.replace(b", ", b",\n") if name.endswith(".json") else content
    try:
        path.write_bytes(damaged(data, text))
        found = read(original, report=Report(skip_bad=skip_bad))
    except DatasetError:
        return
    finally:
        path.write_bytes(content)
    changed = "M017" if name.startswith("train") else "F001"
    for sequence, one in others.items():
        if one.subject != changed:
            assert found[sequence] == one
    levels = [level for one in found.values() for f in one.frames for level in f.intensity.values()]
    assert all(0 <= level <= 5 for level in levels)
