"""How a model is examined, as far as it needs no rig."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from edge.arguments import FREE_MODEL
from tfau.pairs import exam
from tfds_builders.synthetic_faces import sampling, wild


@pytest.fixture(scope="module")
def reader():
    return exam.Reader(FREE_MODEL)


@pytest.mark.parametrize("seed", range(40))
def test_the_unit_table_can_be_turned_round(seed):
    """What a clip's weights are called is what would have made them."""
    drawn = wild.sample_expression(np.random.default_rng(seed))
    drawn.pop(25, None)  # its label is measured
    weights = sampling.rig_weights(drawn, wild.UNIT_TABLE)
    found = wild.levels_of(weights)
    shared = {4, 6, 7, 9, 10, 17, 24, 28}  # pull at the weights of others
    for unit in found:
        expected = np.array(drawn.get(unit, (0.0, 0.0)))
        if unit not in sampling.PAIRED:
            expected[:] = expected.mean()
        within = 0.9 if unit in shared and drawn.keys() & (shared - {unit}) else 1e-6
        np.testing.assert_allclose(found[unit], expected, atol=within, err_msg=f"AU{unit}")


def test_weights_of_a_face_captured_by_a_phone_are_sorted_by_side():
    units = {"mouthSmile": None, "jawOpen": None, "jawLeft": None}
    weights = {"mouthSmileLeft": 0.2, "mouthSmileRight": 0.7, "jawOpen": 0.5, "jawLeft": 0.1}
    assert exam._sided(weights, units) == {
        "mouthSmile": (0.2, 0.7),
        "jawOpen": (0.5, 0.5),
        "jawLeft": (0.1, 0.1),
    }


def test_photographs_are_set_beside_blendshapes(reader, tmp_path):
    picture = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)
    for number, scale in enumerate((1.0, 0.8, 0.6)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), cv2.resize(picture, None, fx=scale, fy=scale))
    found = exam.photos(reader, tmp_path, tmp_path / "pictures")
    assert found["photos"] == 3
    assert set(found["r_with_blendshapes"]) == {f"AU{unit:02d}" for unit in exam.WITNESSES}
    assert found["mirrored_apart"]["mean"] < 0.15
    drawn = cv2.imread(str(tmp_path / "pictures" / "sheet.jpg"))
    assert drawn.shape == (96 * len(reader.aus.names), 96 * 6, 3)


def test_a_sheet_goes_from_the_highest_to_the_lowest():
    levels = np.array([[1.0, 4.0], [np.nan, 0.0], [3.0, 2.0]], np.float32)
    faces = [np.full((96, 96, 3), 60 * (1 + k), np.uint8) for k in range(3)]
    drawn = exam.sheet(["AU06", "AU12"], levels, faces, each=1)
    assert drawn[95::96, 95::96, 0].tolist() == [[180, 60], [60, 120]]


def test_a_video_is_set_beside_blendshapes(reader, tmp_path):
    """Somebody who comes nearer and tilts the head."""
    picture = skimage.data.astronaut()[:400, 60:460]
    folder = tmp_path / "videos"
    folder.mkdir()
    writer = cv2.VideoWriter(str(folder / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (400, 400))
    for number in range(8):
        turned = cv2.getRotationMatrix2D((200, 150), 2 * number, 1 + 0.02 * number)
        writer.write(cv2.cvtColor(cv2.warpAffine(picture, turned, (400, 400)), cv2.COLOR_RGB2BGR))
    writer.release()
    found = exam.videos(reader, folder, tmp_path / "pictures")
    assert found["v"]["frames"] == 8
    assert set(found["v"]["r_with_blendshapes"]) == {f"AU{unit:02d}" for unit in exam.WITNESSES}
    assert set(found["v"]["r_with_pitch"]) == {*reader.aus.names, "mean"}
    assert cv2.imread(str(tmp_path / "pictures" / "v.png")) is not None


@pytest.mark.parametrize(("words", "says"), [(["--clip", "a.csv"], "--rig"), ([], "nothing to")])
def test_what_nobody_can_be_examined_with_is_refused(words, says):
    with pytest.raises(ValueError, match=says):
        exam.main([str(FREE_MODEL), *words])


@pytest.mark.parametrize(
    ("kind", "says"), [("photos", "no face"), ("videos", "no video"), ("shards", "no shard")]
)
def test_an_empty_folder_is_one_sentence(kind, says, tmp_path):
    out = tmp_path / "x.json"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=says):
        exam.main([str(FREE_MODEL), f"--{kind}", str(tmp_path / "empty"), "-o", str(out)])
    assert not out.exists()


def test_shards_are_for_pair_networks(tmp_path):
    (tmp_path / "faces-0.npz").touch()
    other = Path(__file__).parents[1] / "edge" / "fixed_bumps.tflite"
    with pytest.raises(ValueError, match="another kind"):
        exam.main([str(other), "--shards", str(tmp_path)])


def test_a_person_is_calibrated_with_their_first_picture(reader, tmp_path):
    crop = np.full((128, 128, 3), 90, np.uint8)
    jpeg = cv2.imencode(".jpg", crop)[1].tobytes()
    rng = np.random.default_rng(0)
    count, units = 6, len(sampling.NUMBERS)
    with (tmp_path / "faces-0.npz").open("wb") as file:
        np.savez(
            file,
            jpeg=np.frombuffer(jpeg * count, np.uint8),
            offsets=np.arange(count + 1) * len(jpeg),
            numbers=np.array(sampling.NUMBERS),
            left=rng.uniform(0, 5, (count, units)).astype(np.float32),
            right=rng.uniform(0, 5, (count, units)).astype(np.float32),
            points=np.zeros((count, 42, 2), np.float16),
            mesh=rng.uniform(0, 128, (count, 468, 3)).astype(np.float16),
            subject=np.repeat([0, 1], 3),
            frame=np.tile([0, 1, 2], 2),
            is_neutral=np.zeros(count, bool),
            recipe=np.array('{"format": 1}'),
        )
    found = exam.people(reader, [tmp_path / "faces-0.npz"])
    assert (found["crops"], found["people"]) == (6, 2)
    assert found["icc_plain"] != found["icc_calibrated"]
    for name, (low, high) in found["icc_plain_95"].items():
        assert low - 0.001 <= found["icc_plain"][name] <= high + 0.001


def test_what_was_found_is_printed_in_lines():
    lines = list(exam._lines("a", {"x": 0.123, "b": {"y": [1, 2]}}))
    assert lines == ["a:", "  x 0.12", "  b:", "    y [1, 2]"]
