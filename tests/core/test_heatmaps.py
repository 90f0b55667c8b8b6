"""Points to heatmaps and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfau.core.heatmaps import HeatmapCodec


@given(
    st.sampled_from([64, 128, 256]),
    st.sampled_from([1.0, 1.5, 2.0, 3.0]),
    st.integers(0, 2**32 - 1),
)
def test_reading_gives_back_what_was_drawn(size, sigma, seed):
    rng = np.random.default_rng(seed)
    codec = HeatmapCodec(size, sigma=sigma)
    points = rng.uniform([0, 0, 0.1], [size - 1, size - 1, 5], (6, 3)).astype(np.float32)
    read = codec.decode(codec.encode(points))
    np.testing.assert_allclose(read[:, :2], points[:, :2], atol=0.01)
    np.testing.assert_allclose(read[:, 2], points[:, 2], atol=1e-3)


def test_noise_moves_an_intensity_little():
    """The fit averages over the bump; the highest pixel would be off by its own noise."""
    rng = np.random.default_rng(0)
    codec = HeatmapCodec(256)
    points = rng.uniform([20, 20, 1], [235, 235, 5], (200, 3)).astype(np.float32)
    noisy = codec.encode(points) + rng.normal(0, 0.2, (64, 64, 200)).astype(np.float32)
    read = codec.decode(noisy)
    of_fit = np.abs(read[:, 2] - points[:, 2]).mean()
    of_highest_pixel = np.abs(noisy.max(axis=(0, 1)) - points[:, 2]).mean()
    assert of_fit < of_highest_pixel / 2


def test_a_place_in_the_frame_is_found_in_the_maps():
    codec = HeatmapCodec(64)
    matrix = np.array([[0.5, 0.1, -3.0], [-0.1, 0.5, 9.0]])
    place = np.array([60.0, 70.0])
    crop = matrix[:, :2] @ place + matrix[:, 2]
    drawn = codec.encode(np.array([[*crop, 5.0]]))[..., 0]
    column, row = codec.to_maps(matrix) @ [*place, 1.0]
    assert np.unravel_index(drawn.argmax(), drawn.shape) == (round(row), round(column))
    np.testing.assert_allclose(np.array([column, row]) * 4 + 1.5, crop)


def test_nothing_drawn_reads_as_nothing_anywhere():
    codec = HeatmapCodec(64)
    read = codec.decode(codec.encode(np.array([[10.0, 10.0, 0.0], [np.nan, np.nan, 0.0]])))
    assert np.isnan(read[:, :2]).all()
    assert (read[:, 2] == 0).all()


def test_not_coded_stays_not_coded():
    codec = HeatmapCodec(64)
    assert np.isnan(codec.encode(np.array([[10.0, 10.0, np.nan]]))).all()
    assert np.isnan(codec.encode(np.array([[np.nan, np.nan, 2.0]]))).all()


def test_batches_are_read_like_single_maps():
    rng = np.random.default_rng(1)
    codec = HeatmapCodec(64)
    maps = rng.normal(0, 1, (2, 3, 16, 16, 5)).astype(np.float32)
    together = codec.decode(maps)
    for index in np.ndindex(2, 3):
        np.testing.assert_array_equal(together[index], codec.decode(maps[index]))


def test_a_crop_that_gives_no_whole_map_is_refused():
    with pytest.raises(ValueError, match="Received: 130"):
        HeatmapCodec(130)
