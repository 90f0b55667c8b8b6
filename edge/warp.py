"""Cuts aligned face crops out of frames: the one warp behind every crop in the project."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def crop_face(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], size: int
) -> NDArray[np.uint8]:
    """Warps the region that `matrix` names to a square crop.

    Bilinear sampling looks at four pixels only and aliases as soon as it skips some. A face that
    shrinks by a factor of 2 or more is therefore averaged over whole pixel blocks first, on a grid
    that is fixed to the frame, so that a crop depends on the frame and the matrix alone.

    Args:
        image: Frame `(H, W, 3)`, RGB.
        matrix: `(2, 3)` similarity from frame pixels to crop pixels, integer coordinates at pixel
            centres, as `FaceAligner.matrix` gives it.
        size: Side of the crop in pixels.

    Returns:
        Crop `(size, size, 3)`, RGB. What lies outside the frame is black.

    Raises:
        ValueError: If the image is not `(H, W, 3)` uint8, the matrix not finite and invertible, or
            the size not positive.

    Example:
        >>> frame = np.full((60, 80, 3), 200, np.uint8)
        >>> halve = np.array([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]])
        >>> crop_face(frame, halve, 32).shape
        (32, 32, 3)
    """
    check_image(image)
    matrix = np.asarray(matrix, np.float64)
    if matrix.shape != (2, 3) or not np.isfinite(matrix).all():
        raise ValueError(f"`matrix` must be a finite (2, 3) array. Received: matrix={matrix}")
    if size < 1:
        raise ValueError(f"`size` must be at least 1. Received: size={size}")
    determinant = float(np.linalg.det(matrix[:, :2]))
    if determinant == 0.0:
        raise ValueError(f"`matrix` must be invertible. Received: matrix={matrix}")

    # The margin forgives a scale of 0.5 that arrives as 0.5000000001.
    factor = math.floor(1.0 / math.sqrt(abs(determinant)) + 1e-6)
    if factor >= 2:
        image, matrix = _shrink(image, matrix, size, factor)
    return cv2.warpAffine(  # type: ignore[return-value]
        image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )


def steady(matrix: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Snaps a crop to a grid: by less than .2 px at its corners, about a fifth of that on average.

    Processors round differently, and 8-bit networks may answer a pixel that is off by one level
    otherwise than expected. On a grid the crop is the same, bit for bit, on all of them.

    Args:
        matrix: `(2, 3)` similarity from frame pixels to crop pixels.
        size: Side of the crop in pixels.

    Returns:
        `(2, 3)`: scale to a 512th of a doubling, turn to a 512th of a radian, place to a 16th px.
    """
    angle = round(math.atan2(matrix[1, 0], matrix[0, 0]) * 512) / 512
    scale = 2 ** (round(math.log2(math.hypot(*matrix[:, 0])) * 512) / 512)
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    middle = np.full(2, (size - 1) / 2)
    centre = np.linalg.solve(matrix[:, :2], middle - matrix[:, 2])
    centre = np.round(centre * scale * 16) / (scale * 16)
    return np.column_stack([turn, middle - turn @ centre])


def check_image(image: Image) -> None:
    """Raises ValueError if something is not a picture, (H, W, 3) uint8."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(
            "`image` must be a non-empty (H, W, 3) uint8 array. "
            f"Received: image.shape={image.shape}, image.dtype={image.dtype}"
        )


def _shrink(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], size: int, factor: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Averages `factor` x `factor` blocks around the crop; returns them and the new matrix."""
    height, width = image.shape[:2]
    inverse = np.linalg.inv(np.vstack([matrix, [0.0, 0.0, 1.0]]))
    corners = np.array([[-1, -1, 1], [size, -1, 1], [-1, size, 1], [size, size, 1]]) @ inverse[:2].T
    # Only the blocks that the crop touches are averaged: a small face in a 4K frame stays cheap.
    first = np.floor(corners.min(axis=0) / factor).astype(int) - 1
    last = np.ceil(corners.max(axis=0) / factor).astype(int) + 2
    blocks = -(-np.array([width, height]) // factor)
    first, last = np.clip(first, 0, blocks - 1), np.clip(last, 1, blocks)
    (left, top), (right, bottom) = first * factor, last * factor

    region = image[top : min(bottom, height), left : min(right, width)]
    below, beside = bottom - top - region.shape[0], right - left - region.shape[1]
    if below or beside:
        region = cv2.copyMakeBorder(region, 0, below, 0, beside, cv2.BORDER_CONSTANT)  # type: ignore[assignment]
    small = cv2.resize(
        region, ((right - left) // factor, (bottom - top) // factor), interpolation=cv2.INTER_AREA
    )
    # A block's centre lies (factor - 1) / 2 pixels after its first pixel.
    offset = first * factor + (factor - 1) / 2
    shifted = matrix[:, :2] @ offset + matrix[:, 2]
    return small, np.column_stack([matrix[:, :2] * factor, shifted])  # type: ignore[return-value]
