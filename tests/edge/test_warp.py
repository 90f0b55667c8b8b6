"""crop_face: the one warp behind every crop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.warp import crop_face


def similarity(scale: float, degrees: float, source: tuple[float, float], size: int) -> np.ndarray:
    """Carries `source` to the middle of the crop."""
    turn = np.deg2rad(degrees)
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.column_stack([linear, (size - 1) / 2 - linear @ source])


def ramp(height: int, width: int) -> np.ndarray:
    """A picture whose red is x / 4 and whose green is y / 4: a pixel says where it comes from."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns / 4, rows / 4, np.full_like(rows, 128)], axis=-1).round().astype("u1")


def test_identity_copies():
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    assert np.array_equal(crop_face(image, np.eye(2, 3), 40), image)


@given(
    scale=st.floats(0.1, 2.0),
    degrees=st.floats(-180, 180),
    x=st.floats(480, 520),
    y=st.floats(480, 520),
)
def test_every_scale_samples_the_right_place(scale, degrees, x, y):
    size = 32
    matrix = similarity(scale, degrees, (x, y), size)
    crop = crop_face(ramp(1000, 1000), matrix, size)
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    rows, columns = np.mgrid[:size, :size]
    places = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ inverse[:2].T
    # A grey level is 4 px wide; rounding and OpenCV's 1/32-px grid stay below 1.5 of them.
    assert np.abs(crop[..., :2] - places / 4).max() < 1.5


@pytest.mark.parametrize("scale", [0.5, 0.34, 0.25, 0.2, 0.1])
def test_shrinking_does_not_alias(scale):
    """A fine chessboard is grey from afar, in every phase and direction."""
    rows, columns = np.mgrid[:800, :800]
    board = np.repeat(((rows + columns) % 2 * 255)[..., None], 3, axis=-1).astype("u1")
    for degrees in (0, 30):
        crop = crop_face(board, similarity(scale, degrees, (400, 400), 64), 64)
        inner = crop[4:-4, 4:-4].astype(float)
        assert abs(inner.mean() - 127.5) < 8
        assert inner.std() < 48  # without averaging: 127 where the phase is unlucky


def test_outside_is_black():
    image = np.full((50, 50, 3), 255, np.uint8)
    for scale in (1.0, 0.2):
        assert not crop_face(image, similarity(scale, 0, (5000, -5000), 32), 32).any()
    half = crop_face(image, similarity(1.0, 0, (0, 25), 32), 32)
    assert not half[:, :15].any()
    assert (half[:, 17:] == 255).all()


def test_a_block_at_the_border_mixes_with_black():
    image = np.full((101, 101, 3), 255, np.uint8)
    crop = crop_face(image, similarity(0.25, 0, (50, 50), 32), 32)
    assert crop[16, 16, 0] == 255
    assert not crop[0].any()


def test_only_the_crop_counts():
    """What lies far from the crop changes nothing, so a crop of a crop is the same crop."""
    image = np.random.default_rng(1).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    matrix = similarity(0.3, 10, (100, 100), 32)
    changed = image.copy()
    changed[300:] = 0
    assert np.array_equal(crop_face(image, matrix, 32), crop_face(changed, matrix, 32))


@pytest.mark.parametrize(
    ("image", "matrix", "size"),
    [
        (np.zeros((8, 8), np.uint8), np.eye(2, 3), 8),
        (np.zeros((8, 8, 4), np.uint8), np.eye(2, 3), 8),
        (np.zeros((8, 8, 3), np.float32), np.eye(2, 3), 8),
        (np.zeros((0, 8, 3), np.uint8), np.eye(2, 3), 8),
        (np.zeros((8, 8, 3), np.uint8), np.eye(3), 8),
        (np.zeros((8, 8, 3), np.uint8), np.full((2, 3), np.nan), 8),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((2, 3)), 8),
        (np.zeros((8, 8, 3), np.uint8), np.eye(2, 3), 0),
    ],
)
def test_nonsense_is_refused(image, matrix, size):
    with pytest.raises(ValueError, match="Received: "):
        crop_face(image, matrix, size)
