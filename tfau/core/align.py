"""Where a face crop is cut: the only place in the project that defines it.

The template is the mean adult head of our CC0 rig (equal ancestries and sexes), seen from the
front, in units of the distance between the outer eye corners, with the origin midway between them;
x to the subject's left, y down, z away from the camera. A crop of side S puts the origin at
(.5 S, .30 S) and makes the unit .46 S: raised brows and the chin of a wide-open mouth stay inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

# Vertices that expressions leave in place: no brows, no mouth, no jaw.
_STABLE: dict[int, tuple[float, float, float]] = {
    33: (-0.5000, 0.0000, 0.0000),  # right outer eye corner
    133: (-0.1900, 0.0437, -0.0517),  # right inner eye corner
    362: (0.1900, 0.0437, -0.0517),
    263: (0.5000, 0.0000, 0.0000),
    168: (0.0000, 0.0191, -0.1704),  # nose bridge, between the eyes
    6: (0.0000, 0.0985, -0.1930),
    127: (-0.7942, -0.0049, 0.6153),  # right temple
    356: (0.7942, -0.0049, 0.6153),
}
STABLE_VERTICES: npt.NDArray[np.intp] = np.array(list(_STABLE), dtype=np.intp)
TEMPLATE = np.array(list(_STABLE.values()))
ORIGIN = (0.50, 0.30)
UNIT = 0.46


def procrustes(
    source: npt.NDArray[Any], target: npt.NDArray[Any]
) -> tuple[float, Matrix, npt.NDArray[np.float64]]:
    """Finds the similarity that carries one point set onto another, least squares.

    Args:
        source: (N, D) points.
        target: (N, D) points.

    Returns:
        Scale, (D, D) rotation and (D,) shift: `target ~ scale * source @ rotation.T + shift`.
        The rotation is never a reflection.

    Raises:
        ValueError: If the source points coincide or are not finite.

    References:
        Umeyama, "Least-squares estimation of transformation parameters between two point
        patterns", IEEE TPAMI 13(4), 1991.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    centred = source - source_mean
    variance = float((centred**2).sum())
    if not variance > 1e-12 * max(1.0, float((source_mean**2).sum())):
        raise ValueError("Cannot align points that coincide or are not finite.")
    u, values, vt = np.linalg.svd((target - target_mean).T @ centred)
    signs = np.ones(len(values))
    signs[-1] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * signs) @ vt
    scale = float((values * signs).sum() / variance)
    return scale, rotation, target_mean - scale * rotation @ source_mean


class FaceAligner:
    """Cuts the same square out of every face.

    One similarity transform (rotation, scale, shift; no shear) carries the stable mesh points
    onto the template, least squares, so the crop keeps the proportions of the face.

    Args:
        crop_size: Side S of the crop, px. A multiple of 32, the stride of the backbones.

    Raises:
        ValueError: If `crop_size` is not a positive multiple of 32.

    Example:
        >>> aligner = FaceAligner(128)
        >>> mesh = np.zeros((468, 3))
        >>> mesh[STABLE_VERTICES] = aligner.template * 3 + 7
        >>> crop_points = aligner.transform(mesh[STABLE_VERTICES, :2], aligner.matrix(mesh))
        >>> np.allclose(crop_points, aligner.template[:, :2])
        True
    """

    def __init__(self, crop_size: int) -> None:
        if crop_size < 32 or crop_size % 32:
            raise ValueError(f"`crop_size` must be a multiple of 32. Received: {crop_size}.")
        self.crop_size = crop_size

    @property
    def template(self) -> npt.NDArray[np.float64]:
        """(8, 3) stable points in crop px (z too)."""
        return (TEMPLATE * UNIT + (*ORIGIN, 0.0)) * self.crop_size

    def matrix(self, mesh: npt.NDArray[Any]) -> Matrix:
        """Finds the crop of a face.

        Args:
            mesh: (468 or 478, 2 or 3) mesh in frame px.

        Returns:
            (2, 3) float64 similarity: frame px -> crop px.

        Raises:
            ValueError: If the mesh is degenerate.
        """
        scale, rotation, shift = procrustes(mesh[STABLE_VERTICES, :2], self.template[:, :2])
        return np.hstack([scale * rotation, shift[:, None]])

    @staticmethod
    def transform(points: npt.ArrayLike, matrix: Matrix) -> npt.NDArray[np.float64]:
        """Moves (..., 2) points by a (2, 3) matrix."""
        return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]

    @staticmethod
    def invert(matrix: Matrix) -> Matrix:
        """Returns the (2, 3) matrix of the way back."""
        linear = np.linalg.inv(matrix[:, :2])
        return np.hstack([linear, (-linear @ matrix[:, 2])[:, None]])

    @staticmethod
    def aligned_mesh(mesh: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Turns a mesh to the front and to unit size.

        Args:
            mesh: (N, 3) mesh, N = 468 or 478, frame px.

        Returns:
            (N, 3) float32 in template units (outer eye corners about 1 apart): head pose, size
            and place are gone, what is left is the person and the expression.
        """
        scale, rotation, shift = procrustes(mesh[STABLE_VERTICES], TEMPLATE)
        return (scale * mesh @ rotation.T + shift).astype(np.float32)
