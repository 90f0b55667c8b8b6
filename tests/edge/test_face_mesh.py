"""FaceMesh: decoding, merging, and the same face however it is shown."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edge.face_mesh
from edge.face_detector import decode_boxes, merge_boxes
from edge.face_mesh import FaceMesh
from tfau.core import BundleError

EYES = [33, 263]


def eye_distance(points):
    return np.linalg.norm(points[33, :2] - points[263, :2])


def off(found, expected):
    """Mean distance of two meshes, in eye distances."""
    return np.linalg.norm(found[:, :2] - expected[:, :2], axis=1).mean() / eye_distance(expected)


# decoding


def test_an_empty_answer_is_no_box():
    boxes, scores = decode_boxes(np.ones((896, 16), "f4"), np.full(896, -100, "f4"), 0.5)
    assert boxes.shape == (0, 8, 2)
    assert scores.shape == (0,)


@pytest.mark.parametrize(
    ("anchor", "center"),
    [(0, (4, 4)), (1, (4, 4)), (2, (12, 4)), (511, (124, 124)), (512, (8, 8)), (895, (120, 120))],
)
def test_boxes_are_relative_to_their_anchor(anchor, center):
    raw, logits = np.zeros((896, 16), "f4"), np.full(896, -50, "f4")
    raw[anchor] = [1, 2, 10, 20, *range(12)]
    logits[anchor] = 3
    (box,), (score,) = decode_boxes(raw, logits, 0.5)
    x, y = center
    assert np.allclose(box[0], [x + 1 - 5, y + 2 - 10])
    assert np.allclose(box[1], [x + 1 + 5, y + 2 + 10])
    assert np.allclose(box[2:], np.arange(12).reshape(6, 2) + center)
    assert score == pytest.approx(1 / (1 + np.exp(-3)))


def test_huge_logits_do_not_overflow_and_boxes_turned_inside_out_are_dropped():
    raw = np.ones((896, 16), "f4")
    raw[5, 2] = -1
    boxes, scores = decode_boxes(raw, np.full(896, 1e9, "f4"), 0.5)
    assert len(boxes) == 895
    assert np.all(scores == 1)


# merging


def box(x, y, side):
    return np.concatenate([[[x, y], [x + side, y + side]], np.full((6, 2), x + side / 2)])


@st.composite
def heaps(draw):
    """Boxes and scores; scores all differ so that the order is defined."""
    number = draw(st.integers(1, 12))
    coordinate = st.floats(0, 100)
    boxes = [box(draw(coordinate), draw(coordinate), draw(st.floats(0, 60))) for _ in range(number)]
    scores = draw(st.lists(st.floats(0.5, 1), min_size=number, max_size=number, unique=True))
    return np.array(boxes), np.array(scores)


@given(heaps())
def test_merging_keeps_the_best_first_and_stays_inside(heap):
    boxes, scores = heap
    merged, best = merge_boxes(boxes, scores)
    assert 1 <= len(merged) <= len(boxes)
    assert best[0] == scores.max()
    assert np.all(np.diff(best) <= 0)
    assert merged[:, 0].min() >= boxes[:, 0].min() - 1e-9
    assert merged[:, 1].max() <= boxes[:, 1].max() + 1e-9


@given(heaps(), st.randoms(use_true_random=False))
def test_merging_does_not_depend_on_the_order(heap, random):
    boxes, scores = heap
    order = list(range(len(boxes)))
    random.shuffle(order)
    for ours, theirs in zip(
        merge_boxes(boxes, scores), merge_boxes(boxes[order], scores[order]), strict=True
    ):
        assert np.allclose(ours, theirs)


def test_a_heap_becomes_its_weighted_mean_and_far_boxes_stay_apart():
    boxes = np.array([box(10, 10, 20), box(12, 10, 20), box(80, 80, 20)])
    merged, best = merge_boxes(boxes, np.array([0.6, 0.9, 0.7]))
    assert np.allclose(merged[0], (0.6 * boxes[0] + 0.9 * boxes[1]) / 1.5)
    assert np.allclose(merged[1], boxes[2])
    assert best.tolist() == [0.9, 0.7]


def test_merging_nothing_gives_nothing():
    merged, best = merge_boxes(np.zeros((0, 8, 2)), np.zeros(0))
    assert merged.shape == (0, 8, 2)
    assert best.shape == (0,)


# the whole


def test_astronaut_agrees_with_mediapipe(astronaut):
    """Reference: FaceLandmarker of the package mediapipe 1.2.2, image mode, x86."""
    reference = np.load(Path(__file__).with_name("astronaut_mediapipe_1.2.2.npy"))
    with FaceMesh(refine=False) as plain, FaceMesh() as refined:
        (once,), (twice,) = plain.detect(astronaut), refined.detect(astronaut)
    distance = np.linalg.norm(once.mesh[:, :2] - reference[:, :2], axis=1)
    assert distance.mean() < 0.3
    assert distance.max() < 0.7
    assert np.abs(once.mesh[:, 2] - reference[:, 2]).mean() < 0.3
    assert np.linalg.norm(twice.mesh[:, :2] - reference[:, :2], axis=1).mean() < 1
    assert once.confidence > 0.99


def test_result_says_where_and_when(astronaut, mesh):
    (face,) = mesh.detect(astronaut, timestamp_ms=40.0)
    assert face.mesh.shape == (478, 3)
    assert face.mesh.dtype == np.float32
    assert face.frame_size == (512, 512)
    assert face.timestamp_ms == 40.0
    assert face.track_id == 0


def test_same_picture_same_answer(astronaut, mesh):
    (first,), (second,) = mesh.detect(astronaut), mesh.detect(astronaut.copy())
    assert np.array_equal(first.mesh, second.mesh)


@pytest.mark.parametrize(
    ("degrees", "scale", "shift"),
    [
        (0, 1, (60, 100)),
        (0, 1, (-60, 0)),
        (20, 1, (0, 0)),
        (-35, 1, (0, 0)),
        (15, 0.8, (20, 30)),
        (-10, 3.5, (600, 400)),
    ],
)
def test_points_move_with_the_face(astronaut, mesh, degrees, scale, shift):
    matrix = cv2.getRotationMatrix2D((225, 120), degrees, scale)
    matrix[:, 2] += shift
    size = max(512, round(512 * scale))
    shown = cv2.warpAffine(astronaut, matrix, (size, size), flags=cv2.INTER_AREA)
    (before,), (after,) = mesh.detect(astronaut), mesh.detect(shown)
    expected = before.mesh[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    assert off(after.mesh, expected) < 0.03
    depth = np.ptp(after.mesh[:, 2]) / np.ptp(before.mesh[:, 2])
    assert depth == pytest.approx(scale, rel=0.12)


@pytest.mark.parametrize("shape", [(512, 1400), (1400, 512), (513, 777)])
def test_wide_and_high_frames(astronaut, mesh, shape):
    frame = np.zeros((*shape, 3), np.uint8)
    top, left = (shape[0] - 512) // 2, (shape[1] - 512) // 2
    frame[top : top + 512, left : left + 512] = astronaut
    (before,), (after,) = mesh.detect(astronaut), mesh.detect(frame)
    assert off(after.mesh, before.mesh + np.float32([left, top, 0])) < 0.03


def test_a_small_face_in_a_corner_is_found_on_second_look(astronaut, mesh):
    frame = np.zeros((720, 1280, 3), np.uint8)
    frame[:512, -512:] = astronaut  # the face is 7 % of the frame's width
    (before,), (after,) = mesh.detect(astronaut), mesh.detect(frame)
    assert off(after.mesh, before.mesh + np.float32([1280 - 512, 0, 0])) < 0.03


def test_a_mirrored_face_has_its_eyes_swapped(astronaut, mesh):
    (before,), (after,) = (
        mesh.detect(astronaut),
        mesh.detect(np.ascontiguousarray(astronaut[:, ::-1])),
    )
    mirrored = before.mesh[EYES[::-1], :2] * [-1, 1] + [511, 0]
    assert np.linalg.norm(after.mesh[EYES, :2] - mirrored, axis=1).max() < 3


def test_two_faces_and_only_as_many_as_wanted(astronaut, mesh):
    pair = np.hstack([astronaut[:256, 96:352], astronaut[:256, 96:352]])
    faces = mesh.detect(pair)
    assert len(faces) == 2
    assert [face.track_id for face in faces] == [0, 1]
    first, second = sorted(faces, key=lambda face: face.mesh[0, 0])
    assert off(second.mesh - np.float32([256, 0, 0]), first.mesh) < 0.02
    with FaceMesh(max_faces=1) as one:
        assert len(one.detect(pair)) == 1


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((90, 160, 3), np.uint8),
        np.full((300, 300, 3), 255, np.uint8),
        np.full((1, 1, 3), 7, np.uint8),
        np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8),
    ],
    ids=["black", "white", "one pixel", "noise"],
)
def test_no_face_is_no_error(mesh, image):
    assert mesh.detect(image) == []


def test_closing_twice_is_harmless():
    mesh = FaceMesh()
    mesh.close()
    mesh.close()
    assert not hasattr(mesh, "_mesh")


@pytest.mark.parametrize(
    "image",
    [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32), np.zeros((0, 9, 3), np.uint8)],
)
def test_other_arrays_are_refused(mesh, image):
    with pytest.raises(ValueError, match=r"`image` must be .* Received: "):
        mesh.detect(image)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="max_faces=0"):
        FaceMesh(max_faces=0)


def test_damaged_models_are_refused(tmp_path, monkeypatch):
    changed = tmp_path / "face_landmarker.task"
    monkeypatch.setattr(edge.face_mesh, "MODELS", changed)
    with pytest.raises(BundleError, match="missing or damaged"):
        FaceMesh()
    shutil.copy(Path(edge.face_mesh.__file__).parent / "models" / "face_landmarker.task", changed)
    FaceMesh().close()
    with changed.open("r+b") as stream:
        stream.seek(1_000_000)
        stream.write(b"\0\1")
    with pytest.raises(BundleError, match="missing or damaged"):
        FaceMesh()
