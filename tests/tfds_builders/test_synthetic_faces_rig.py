"""The rig's rules, on a rig of eight vertices."""

import json
import shutil

import cv2
import numpy as np
import pytest

from tfau.core.errors import DatasetError
from tfds_builders.synthetic_faces.rig import FaceRig, SmoothNormals

CUBE = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
# fmt: off
FACES = np.array([
    (0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1),
    (2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3),
], np.int32)
# fmt: on
UNITS = ["jawOpen", "mouthLeft", "mouthSmileLeft", "mouthSmileRight"]
RIGHT_VERTEX, LEFT_VERTEX = 0, 4


def write_rig(folder):
    one = np.zeros((8, 3), np.float32)
    one[:, 1] = -1
    unit_rows = [np.arange(8), np.arange(8), np.arange(4, 8), np.arange(4)]
    arrays = {
        "vertices": CUBE,
        "uv": np.zeros((8, 2), np.float32),
        "triangles": FACES,
        "uv_triangles": FACES,
        "landmarks_468": np.arange(8, dtype=np.int32),
        "landmarks_iris": np.zeros(1, np.int32),
        "unit_start": np.cumsum([0, *map(len, unit_rows)]).astype(np.int32),
        "unit_index": np.concatenate(unit_rows).astype(np.int32),
        "unit_delta": np.concatenate([one[rows] for rows in unit_rows]),
    }
    for family in ("macro", "universal", "detail"):
        arrays[f"{family}_start"] = np.array([0, 8], np.int32)
        arrays[f"{family}_index"] = np.arange(8, dtype=np.int32)
        arrays[f"{family}_delta"] = np.full((8, 3), 0.5, np.float32)
    for part in ("brows", "teeth"):
        arrays |= {
            f"proxy/{part}/triangles": np.array([(0, 1, 2)], np.int32),
            f"proxy/{part}/uv": np.zeros((3, 2), np.float32),
            f"proxy/{part}/uv_triangles": np.array([(0, 1, 2)], np.int32),
            f"proxy/{part}/reference": np.array([(0, 1, 4)] * 3, np.int32),
            f"proxy/{part}/weight": np.eye(3, dtype=np.float32),
            f"proxy/{part}/offset": np.full((3, 3), 0.25, np.float32),
            f"proxy/{part}/scale_vertices": np.array([(0, 4), (0, 2), (0, 1)], np.int32),
            f"proxy/{part}/scale_length": np.array([1, 2, 4], np.float32),
        }
    np.savez(folder / "rig.npz", **arrays)
    index = {
        "morphs": {
            "macro": {"names": ["a"]},
            "universal": {"names": ["a"]},
            "detail": {"names": ["a"], "about": {"a": {}}},
            "unit": {"names": UNITS},
        },
        "proxies": {
            "items": {
                "brows": {"kind": "brows", "fit": "surface", "textures": ["b.png"]},
                "teeth": {"kind": "teeth", "fit": "carried", "textures": ["b.png"]},
            }
        },
        "skins": {"items": []},
        "skin_atlas": {"size_px": 10, "parts": []},
    }
    (folder / "rig.json").write_text(json.dumps(index))
    cv2.imwrite(str(folder / "b.png"), np.zeros((2, 2, 3), np.uint8))


@pytest.fixture
def folder(tmp_path):
    write_rig(tmp_path)
    return tmp_path


@pytest.fixture
def rig(folder):
    return FaceRig.load(folder)


def test_weights_add_up(rig):
    resting = rig.rest({"macro": {"a": 1.0}, "detail": {"a": 0.5}, "universal": {"average": 1.0}})
    np.testing.assert_allclose(resting, CUBE + 0.75)


def test_halves_of_an_unpaired_unit_make_the_whole(rig):
    whole = rig.express(CUBE, {"jawOpen": (0.6, 0.6)})
    np.testing.assert_allclose(whole, CUBE - (0, 0.6, 0), atol=1e-6)
    left = rig.express(CUBE, {"jawOpen": (0.6, 0.0)}) - CUBE
    assert left[LEFT_VERTEX, 1] == pytest.approx(-0.6)
    assert left[RIGHT_VERTEX, 1] == 0


def test_sides_are_those_of_the_subject(rig):
    moved = rig.express(CUBE, {"mouthSmile": (1.0, 0.25)}) - CUBE
    assert moved[LEFT_VERTEX, 1] == -1
    assert moved[RIGHT_VERTEX, 1] == -0.25


def test_a_direction_is_not_a_side(rig):
    assert set(rig.units) == {"jawOpen", "mouthLeft", "mouthSmile"}


def test_parts_follow_the_surface_or_are_carried(rig):
    stretched = CUBE * (2, 1, 1)
    offset = 0.25 * np.array([2 / 1, 2 / 2, 2 / 4])
    brows = rig.parts["brows"].fit(stretched, CUBE)
    np.testing.assert_allclose(brows, stretched[[0, 1, 4]] + offset * (2, 1, 1), atol=1e-6)
    teeth = rig.parts["teeth"].fit(stretched, CUBE)
    carried = (stretched - CUBE)[[0, 1, 4]].mean(axis=0)
    np.testing.assert_allclose(teeth, CUBE[[0, 1, 4]] + offset + carried, atol=1e-6)


def test_normals_point_out_of_a_closed_mesh():
    normals = SmoothNormals(FACES, 9)(np.vstack([CUBE, [(5, 5, 5)]]).astype(np.float32))
    assert ((normals[:8] * CUBE).sum(axis=1) > 0.9).all()
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)


def damage(folder, how):
    if how == "no folder":
        shutil.rmtree(folder)
    elif how == "no texture":
        (folder / "b.png").unlink()
    elif how == "no arrays":
        (folder / "rig.npz").unlink()
    elif how == "cut short":
        data = (folder / "rig.npz").read_bytes()
        (folder / "rig.npz").write_bytes(data[: len(data) // 2])
    elif how == "no json":
        (folder / "rig.json").write_text("{")
    elif how == "other json":
        (folder / "rig.json").write_text("[1]")
    elif how == "names and arrays differ":
        index = json.loads((folder / "rig.json").read_text())
        index["morphs"]["unit"]["names"].pop()
        (folder / "rig.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    "how",
    [
        "no folder",
        "no texture",
        "no arrays",
        "cut short",
        "no json",
        "other json",
        "names and arrays differ",
    ],
)
def test_a_damaged_rig_is_one_sentence(folder, how):
    damage(folder, how)
    with pytest.raises(DatasetError, match="`rig` must") as caught:
        FaceRig.load(folder)
    assert "\n" not in str(caught.value)
