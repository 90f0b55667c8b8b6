"""Shards: the committed set, damaged files, and, where a rig is at hand, rendering itself.

Rendering needs EGL and the face rig; the environment variable `TFAU_FACE_RIG` names its folder.
"""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import tfds_builders.synthetic_faces
from tfau.core.action_units import AUSet
from tfau.core.errors import DatasetError
from tfds_builders.synthetic_faces.shards import read_shard, render_shards

TINY = Path(tfds_builders.synthetic_faces.__file__).parent / "tiny"
RIG = os.environ.get("TFAU_FACE_RIG", "")
needs_rig = pytest.mark.skipif(not RIG, reason="TFAU_FACE_RIG names no face rig")


@pytest.fixture(scope="module")
def tiny():
    return [row for path in sorted(TINY.glob("*.npz")) for row in read_shard(path)]


def test_tiny_is_complete_and_small(tiny):
    sizes = [path.stat().st_size for path in TINY.glob("*.npz")]
    assert max(sizes) < 4e6
    assert sum(sizes) <= 8e6
    assert [(row["subject"], row["frame"]) for row in tiny] == [
        (subject, frame) for subject in range(200) for frame in range(10)
    ]


def test_tiny_pictures_are_crops_with_points_on_the_face(tiny):
    aus = AUSet(tiny[0]["numbers"])
    for row in tiny[::37]:
        image = cv2.imdecode(np.frombuffer(row["jpeg"], np.uint8), cv2.IMREAD_COLOR)
        assert image.shape == (128, 128, 3)
        assert image.std() > 5
        assert row["points"].shape == (len(aus.point_names), 2)
        assert (row["points"] > 0).all()
        assert (row["points"] < 128).all()


def test_tiny_left_is_the_subjects_left(tiny):
    aus = AUSet(tiny[0]["numbers"])
    left = [name.endswith("_left") for name in aus.point_names]
    mirrored = aus.flip_index[left]
    for row in tiny:
        assert (row["points"][left, 0] > row["points"][mirrored, 0]).all()
    # A one-sided smile lifts the lip corner of that side.
    a, corner = aus.index(12), aus.point_names.index("AU12_left")
    other = aus.point_names.index("AU12_right")
    uneven = [r for r in tiny if abs(r["left"][a] - r["right"][a]) > 1.5]
    lift = [r["points"][other, 1] - r["points"][corner, 1] for r in uneven]
    stronger = [r["left"][a] - r["right"][a] for r in uneven]
    assert len(uneven) > 20
    assert np.corrcoef(lift, stronger)[0, 1] > 0.8


def test_tiny_labels(tiny):
    left, right = (np.array([row[side] for row in tiny]) for side in ("left", "right"))
    assert np.isfinite([left, right]).all()
    assert min(left.min(), right.min()) >= 0
    assert max(left.max(), right.max()) <= 5
    neutral = np.array([row["is_neutral"] for row in tiny])
    assert neutral.mean() == pytest.approx(0.1)
    assert not left[neutral].any()
    assert not right[neutral].any()
    active = ((left + right) / 2 >= 1).mean(axis=0)
    assert active.min() > 0.07


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "faces.npz"
    path.write_bytes(next(TINY.glob("*.npz")).read_bytes())
    return path


def rewrite(path, **changes):
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files} | changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a shard"),
        lambda path: path.write_bytes(path.read_bytes()[:-5000]),
        lambda path: rewrite(path, left=None),
        lambda path: rewrite(path, left=np.zeros((3, 2), np.float32)),
        lambda path: rewrite(path, jpeg=np.zeros(7, np.uint8)),
        lambda path: rewrite(path, recipe=np.array("[]")),
        lambda path: rewrite(path, points=np.array([{}], dtype=object)),
    ],
)
def test_a_damaged_shard_is_one_sentence(shard, spoil):
    spoil(shard)
    with pytest.raises(DatasetError, match="A shard must") as caught:
        list(read_shard(shard))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("identities", 0),
        ("images_per_identity", 0),
        ("processes", 0),
        ("seed", -1),
        ("jpeg_quality", 101),
        ("crop_size", 100),
    ],
)
def test_arguments_out_of_range(tmp_path, name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        render_shards("rig", tmp_path / "out", **{name: value})
    assert not (tmp_path / "out").exists()


def test_the_command_line_says_what_is_wrong(tmp_path):
    command = [sys.executable, "-m", "tfds_builders.synthetic_faces.shards"]
    command += ["--rig", str(tmp_path / "none"), "--out", str(tmp_path / "out")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    assert run.stderr.startswith("tfau: ")
    assert not (tmp_path / "out").exists()


@needs_rig
def test_rendering_depends_on_the_seed_alone_and_resumes(tmp_path):
    options = {"identities": 26, "images_per_identity": 1, "keep_mesh": True}
    first = render_shards(RIG, tmp_path / "a", processes=1, **options)
    second = render_shards(RIG, tmp_path / "b", processes=2, **options)
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]

    kept = first[0].stat().st_mtime_ns
    whole = first[1].read_bytes()
    first[1].unlink()
    render_shards(RIG, tmp_path / "a", processes=1, **options)
    assert first[1].read_bytes() == whole
    assert first[0].stat().st_mtime_ns == kept

    with pytest.raises(DatasetError, match="`out` must be"):
        render_shards(RIG, tmp_path / "a", seed=1, **options)

    rows = [row for path in first for row in read_shard(path)]
    assert [row["subject"] for row in rows] == list(range(26))
    nose, cheek = (np.array([row["mesh"][k, 2] for row in rows]) for k in (1, 234))
    assert (nose < cheek).all()  # smaller is nearer to the camera


@needs_rig
def test_wild_pictures_say_how_they_were_taken_and_do_not_depend_on_processes(tmp_path):
    options = {"identities": 3, "images_per_identity": 4, "keep_mesh": True, "style": "reserved"}
    (first,) = render_shards(RIG, tmp_path / "a", processes=1, **options)
    (second,) = render_shards(RIG, tmp_path / "b", processes=2, **options)
    assert first.read_bytes() == second.read_bytes()
    rows = list(read_shard(first))
    assert [row["is_neutral"] for row in rows] == [True, True, False, False] * 3
    with np.load(first) as file:
        assert file["pose"].shape == (12, 3)
        assert (np.abs(file["pose"][::4, 1]) <= 9).all()  # whom one calibrates with looks ahead
        assert file["cover"].max() < 6
    with pytest.raises(DatasetError, match="`out` must be"):
        render_shards(RIG, tmp_path / "a", **{**options, "style": "wild"})


def test_an_unknown_style_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="style"):
        render_shards("rig", tmp_path / "out", style="studo")
