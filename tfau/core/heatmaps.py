"""Points and intensities to heatmaps and back, on numpy or on `keras.ops` alike."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

Array = Any
"""An array of whichever namespace is passed as `xp`."""


class HeatmapCodec:
    """Draws each point as a Gaussian bump as high as its intensity, and reads it back.

    The bump's centre is exact, not rounded to a map pixel; its width is the same at any intensity.
    Reading takes the highest pixel, moves it to sub-pixel precision by the ratio of its neighbours
    (exact for a Gaussian of known width), and fits the height of the bump there by least squares
    over the whole map, which averages noise away instead of picking its highest value.

    Args:
        crop_size: Side S of the crop, px.
        stride: Crop pixels to a map pixel; maps are S / stride wide.
        sigma: Standard deviation of the bump, map px.

    Raises:
        ValueError: If the map would not have a whole number of pixels.

    Example:
        >>> codec = HeatmapCodec(64)
        >>> codec.decode(codec.encode(np.array([[20.0, 33.0, 4.0]]))).round(3)
        array([[20., 33.,  4.]])

    References:
        Fan, Lam and Li, AAAI 2020, https://arxiv.org/abs/2004.09681. There the centre is rounded,
        and the intensity is the highest pixel.
    """

    def __init__(self, crop_size: int, stride: int = 4, sigma: float = 2.0) -> None:
        if crop_size % stride:
            raise ValueError(f"`crop_size` must be a multiple of {stride}. Received: {crop_size}.")
        self.crop_size, self.stride, self.sigma = crop_size, stride, float(sigma)
        self.size = crop_size // stride
        self._offset = (stride - 1) / 2  # crop px at the centre of map pixel 0

    def encode(self, points: Array, xp: ModuleType = np) -> Array:
        """Draws points.

        Args:
            points: (..., P, 3) x, y in crop px and intensity. A NaN intensity gives a NaN map;
                a NaN place with intensity 0 gives an empty one.
            xp: Array namespace: `numpy` or `keras.ops`.

        Returns:
            (..., H, W, P) maps with H = W = S / stride, in intensity units.
        """
        x, y, intensity = points[..., 0], points[..., 1], points[..., 2]
        known = (intensity == intensity) & (x == x) & (y == y)
        bump = self._bump(xp.where(known, x, 0.0), xp.where(known, y, 0.0), xp)
        nowhere = xp.where(intensity == 0.0, 0.0, float("nan"))
        return bump * xp.where(known, intensity, nowhere)[..., None, None, :]

    def decode(self, maps: Array, xp: ModuleType = np) -> Array:
        """Reads maps.

        Args:
            maps: (..., H, W, P).
            xp: Array namespace: `numpy` or `keras.ops`.

        Returns:
            (..., P, 3) x, y in crop px and intensity, not clipped. Where no pixel of a map is
            positive, x and y are NaN.
        """
        size = self.size
        flat = xp.reshape(maps, (*maps.shape[:-3], size * size, maps.shape[-1]))
        best = xp.argmax(flat, axis=-2)[..., None, :]
        column, row = best % size, best // size

        def pixel(row: Array, column: Array) -> Array:
            return xp.take_along_axis(flat, row * size + column, axis=-2)[..., 0, :]

        peak = pixel(row, column)
        floor = xp.maximum(peak, 1e-6) * 1e-3  # keeps the logarithms finite on real, noisy maps
        grid = np.arange(size, dtype="float32")

        def refine(index: Array, before: Array, low: Array, after: Array, high: Array) -> Array:
            """Solves for the centre of a Gaussian from its values at two pixels."""
            best, low, high = (xp.take(grid, i[..., 0, :]) for i in (index, low, high))
            ratio = xp.log(xp.maximum(after, floor)) - xp.log(xp.maximum(before, floor))
            centre = (low + high) / 2 + ratio * self.sigma**2 / (high - low)
            return xp.clip(centre, best - 0.5, best + 0.5)

        left, right = xp.maximum(column - 1, 0), xp.minimum(column + 1, size - 1)
        above, below = xp.maximum(row - 1, 0), xp.minimum(row + 1, size - 1)
        u = refine(column, pixel(row, left), left, pixel(row, right), right)
        v = refine(row, pixel(above, column), above, pixel(below, column), below)
        x, y = u * self.stride + self._offset, v * self.stride + self._offset

        bump = self._bump(x, y, xp)
        intensity = xp.sum(maps * bump, axis=(-3, -2)) / xp.sum(bump * bump, axis=(-3, -2))
        seen = peak > 0
        nan = float("nan")
        return xp.stack([xp.where(seen, x, nan), xp.where(seen, y, nan), intensity], axis=-1)

    def to_maps(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Continues a (2, 3) matrix that leads to crop px so that it leads to map px."""
        return (matrix - [[0, 0, self._offset]] * 2) / self.stride

    def _bump(self, x: Array, y: Array, xp: ModuleType) -> Array:
        """Draws (..., H, W, P) bumps of height 1 at (..., P) crop px."""
        grid = np.arange(self.size, dtype="float32")[:, None] * self.stride + self._offset
        width = self.sigma * self.stride

        def along(axis: Array) -> Array:
            # A tensor of PyTorch minus an array would be an array, and lose its gradient.
            return xp.exp(-((xp.subtract(axis[..., None, :], grid) / width) ** 2) / 2)

        along_x, along_y = along(x), along(y)  # (..., W, P) and (..., H, P)
        return along_y[..., :, None, :] * along_x[..., None, :, :]
