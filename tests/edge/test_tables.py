"""Tables of several tools read as one, and compared."""

import csv

import numpy as np
import pytest

from edge import compare
from edge.tables import FaceTable, read_faces
from tfau.core import AUSet


def write(path, header, rows):
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def test_openface_2_has_spaces_and_zeros_for_what_it_did_not_see(tmp_path):
    path = write(
        tmp_path / "of.csv",
        ["frame", " face_id", " timestamp", " confidence", " success", " AU06_r", " AU12_r"],
        [[1, 0, 0.0, 0.9, 1, 1.5, 3.0], [2, 0, 0.04, 0.1, 0, 0.0, 0.0], [3, 0, 0.08, 0.9, 1, 2, 6]],
    )
    tool, (face,) = read_faces(path)
    assert tool == "tfau or OpenFace 2"
    assert face.aus == AUSet([6, 12])
    np.testing.assert_array_equal(face.frames, [1, 3])
    np.testing.assert_array_equal(face.levels, [[1.5, 3.0], [2.0, 5.0]])


def test_libreface_and_py_feat(tmp_path):
    libre = write(
        tmp_path / "l.csv",
        ["frame_idx", "frame_time_in_ms", "au_1", "au_12_intensity", "au_1_intensity"],
        [[0, 0, 1, 2.0, 0.5], [1, 40, 0, 4.0, 0.0]],
    )
    tool, (face,) = read_faces(libre)
    assert tool == "LibreFace"
    assert face.aus == AUSet([1, 12])
    np.testing.assert_allclose(face.times_s, [0, 0.04])
    np.testing.assert_allclose(face.levels, [[0.5, 2.0], [0.0, 4.0]])
    feat = write(tmp_path / "f.csv", ["frame", "AU01", "AU12", "Pitch"], [[0, 0.2, 1.0, 3]])
    tool, (face,) = read_faces(feat)
    assert tool == "py-feat"
    np.testing.assert_allclose(face.levels, [[1.0, 5.0]])


def test_openface_3_must_be_told_its_units(tmp_path):
    path = write(
        tmp_path / "three.csv",
        ["timestamp", "face_id", "action_units"],
        [["12:00", 0, "[0.1, 0.5]"], ["12:01", 0, "[0.2, 1e-1]"]],
    )
    with pytest.raises(ValueError, match="2 numbers a face"):
        read_faces(path)
    tool, (face,) = read_faces(path, [1, 12])
    assert tool == "OpenFace 3"
    np.testing.assert_allclose(face.levels, [[0.5, 2.5], [1.0, 0.5]])


def test_faces_come_apart_and_the_one_seen_most_is_first(tmp_path):
    rows = [[i, 0 if i % 3 else 1, i / 10, 1, i % 5] for i in range(1, 31)]
    path = write(tmp_path / "two.csv", ["frame", "face_id", "timestamp", "success", "AU12_r"], rows)
    _, faces = read_faces(path)
    assert [face.face_id for face in faces] == [0, 1]
    assert [len(face) for face in faces] == [20, 10]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no column of intensities"),
        ("a,b\n1,2\n", "no column of intensities"),
        ("frame,AU12_r\n1,2\n1\n", "line 3"),
        ("frame,AU12_r\n1,smile\n", "AU12_r"),
    ],
)
def test_what_is_no_table_is_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_faces(path)


def table(times, levels, numbers=(12,)):
    aus = AUSet(numbers)
    levels = np.asarray(levels, float).reshape(len(times), len(aus))
    none = np.full(levels.shape, np.nan)
    return FaceTable(
        face_id=0,
        aus=aus,
        frames=np.arange(1, len(times) + 1),
        times_s=np.asarray(times, float),
        levels=levels,
        left=none,
        right=none,
        quality=np.full(len(times), np.nan),
    )


def test_agreement_of_a_table_with_itself_and_with_one_that_lags():
    times = np.arange(0, 20, 1 / 30)
    course = 2.5 + 2 * np.sin(times) * np.sin(0.37 * times)
    (same,) = compare.agreement(table(times, course), table(times, course))
    assert same["frames"] == len(times)
    assert same["icc"] == pytest.approx(1)
    assert same["mae"] == 0
    assert same["lag_s"] == 0
    late = np.interp(times - 0.5, times, course)
    (behind,) = compare.agreement(table(times, course), table(times, late))
    assert behind["pcc_at_lag"] > 0.999 > behind["pcc"]
    assert behind["lag_s"] == pytest.approx(0.5, abs=0.02)


def test_other_frame_rates_are_compared_by_time():
    fast, slow = np.arange(0, 4, 1 / 60), np.arange(0, 4, 1 / 25)
    (row,) = compare.agreement(table(fast, np.sin(fast) + 2), table(slow, np.sin(slow) + 2))
    assert row["mae"] < 0.02
    assert row["frames"] > 90


def test_nothing_in_common_is_one_sentence():
    times = np.arange(0, 4, 0.1)
    with pytest.raises(ValueError, match="no unit"):
        compare.agreement(table(times, times), table(times, times, (25,)))
    with pytest.raises(ValueError, match="no frame"):
        compare.agreement(table(times, times), table(times + 100, times))


def test_the_command_prints_and_writes(tmp_path, capsys):
    header = ["frame", "face_id", "timestamp", "success", "AU12_r", "AU25_r"]
    rng = np.random.default_rng(0)
    rows = [[i + 1, 0, i / 30, 1, *rng.uniform(0, 5, 2).round(3)] for i in range(90)]
    one = write(tmp_path / "a.csv", header, rows)
    other = write(tmp_path / "b.csv", header, [[*r[:4], r[4] / 2, r[5]] for r in rows])
    compare.main([str(one), str(other), "--names", "us", "them"])
    said = capsys.readouterr().out
    assert "us" in said
    assert "AU25" in said
    pytest.importorskip("matplotlib")
    compare.main([str(one), str(other), "-o", str(tmp_path / "out")])
    with (tmp_path / "out" / "agreement.csv").open() as stream:
        found = {row["unit"]: row for row in csv.DictReader(stream)}
    assert float(found["AU25"]["icc"]) == 1
    assert float(found["AU12"]["pcc"]) == 1
    assert float(found["AU12"]["icc"]) < 0.9
    assert (tmp_path / "out" / "agreement.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="no face 3"):
        compare.main([str(one), str(other), "--face", "0", "3"])
