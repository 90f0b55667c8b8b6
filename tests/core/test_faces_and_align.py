"""Mesh, landmarks, and the one place where a crop is defined."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfau.core.action_units import ACTION_UNITS, AUSet
from tfau.core.align import STABLE_VERTICES, FaceAligner, procrustes
from tfau.core.examples import AUExample
from tfau.core.faces import MESH_TO_68, FaceFrame, au_points, landmarks_68

seeds = st.integers(0, 2**32 - 1)


def some_mesh(seed: int) -> np.ndarray:
    """A cloud of points whose stable vertices are a turned, scaled, slightly distorted template."""
    rng = np.random.default_rng(seed)
    mesh = rng.normal(0, 1, (468, 3))
    angle = rng.uniform(-np.pi, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stable = FaceAligner(256).template + rng.normal(0, 2, (8, 3))
    stable[:, :2] = stable[:, :2] @ turn.T
    mesh[STABLE_VERTICES] = stable * rng.uniform(0.2, 8)
    mesh[:, :2] += rng.uniform(-2000, 2000, 2)
    return mesh


def test_landmarks_map_to_distinct_mesh_vertices():
    assert MESH_TO_68.shape == (68,)
    assert len(set(MESH_TO_68.tolist())) == 68
    assert MESH_TO_68.max() < 468


def test_every_point_of_every_unit_has_a_place():
    mesh = some_mesh(0)
    aus = AUSet(ACTION_UNITS)
    points = au_points(mesh, aus)
    assert points.shape == (len(aus.point_names), 2)
    corner = points[aus.point_names.index("AU12_right")]
    np.testing.assert_allclose(corner, landmarks_68(mesh)[48], rtol=1e-6)


def test_points_mirror_with_the_face():
    """On a face that is its own mirror image, left and right points are too."""
    aus = AUSet(ACTION_UNITS)
    mirror_68 = [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31]
    mirror_68 += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    mirror_68 += [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
    half = np.random.default_rng(1).normal(0, 1, (68, 2))
    symmetric = (half + half[mirror_68] * [-1, 1]) / 2
    mesh = np.zeros((468, 3))
    mesh[MESH_TO_68, :2] = symmetric
    points = au_points(mesh, aus)
    np.testing.assert_allclose(points[aus.flip_index] * [-1, 1], points, atol=1e-6)


@given(seeds)
def test_a_point_comes_back_from_the_crop(seed):
    mesh = some_mesh(seed)
    matrix = FaceAligner(256).matrix(mesh)
    there = FaceAligner.transform(mesh[:, :2], matrix)
    back = FaceAligner.transform(there, FaceAligner.invert(matrix))
    np.testing.assert_allclose(back, mesh[:, :2], atol=1e-6)


@given(seeds)
def test_the_crop_is_a_similarity_without_reflection(seed):
    linear = FaceAligner(128).matrix(some_mesh(seed))[:, :2]
    scale = np.sqrt(np.linalg.det(linear))
    np.testing.assert_allclose(linear @ linear.T, np.eye(2) * scale**2, atol=1e-9)


@given(seeds, st.floats(-3.1, 3.1), st.floats(0.3, 4), st.floats(-500, 500))
def test_moving_the_camera_does_not_move_the_crop(seed, angle, zoom, shift):
    mesh = some_mesh(seed)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = mesh.copy()
    moved[:, :2] = mesh[:, :2] @ turn.T * zoom + shift
    aligner = FaceAligner(128)
    before = aligner.transform(mesh[:, :2], aligner.matrix(mesh))
    after = aligner.transform(moved[:, :2], aligner.matrix(moved))
    np.testing.assert_allclose(after, before, atol=1e-3)


@given(seeds)
def test_the_aligned_mesh_forgets_the_pose(seed):
    rng = np.random.default_rng(seed)
    mesh = some_mesh(seed)
    turn, _ = np.linalg.qr(rng.normal(0, 1, (3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    moved = mesh @ turn.T * rng.uniform(0.5, 3) + rng.uniform(-100, 100, 3)
    before, after = FaceAligner.aligned_mesh(mesh), FaceAligner.aligned_mesh(moved)
    np.testing.assert_allclose(after, before, atol=1e-3 * np.abs(before).max())


def test_crop_sizes_scale_the_same_square():
    mesh = some_mesh(3)
    np.testing.assert_allclose(FaceAligner(256).matrix(mesh), FaceAligner(128).matrix(mesh) * 2)


@pytest.mark.parametrize("size", [250, 0, -32, 31])
def test_a_crop_size_that_does_not_fit_the_backbones_is_refused(size):
    with pytest.raises(ValueError, match=f"multiple of 32. Received: {size}"):
        FaceAligner(size)


def test_faces_that_are_no_faces_are_refused():
    with pytest.raises(ValueError, match="468 or 478"):
        FaceFrame(np.zeros((68, 3), np.float32), (640, 480))
    with pytest.raises(ValueError, match="coincide"):
        FaceAligner(128).matrix(np.ones((468, 3)))
    with pytest.raises(ValueError, match="coincide"):
        procrustes(np.full((4, 2), np.nan), np.ones((4, 2)))


def test_examples_guard_their_contract():
    image, points = np.zeros((64, 64, 3), np.uint8), np.zeros((4, 3), np.float32)
    points[1, 2] = np.nan
    assert AUExample(image, points, "S1", "S1-1", 0).points.shape == (4, 3)
    with pytest.raises(ValueError, match="uint8"):
        AUExample(image.astype(np.float32), points, "S1", "S1-1", 0)
    with pytest.raises(ValueError, match=r"\(P, 3\)"):
        AUExample(image, points[:, :2], "S1", "S1-1", 0)
    with pytest.raises(ValueError, match="0-5"):
        AUExample(image, points + 9, "S1", "S1-1", 0)
