"""Skin folds, which the rig lacks: lines in texture space, as deep as the unit that makes them.

Beside them, if asked for, what the skin does between the folds: it bulges, reddens and dimples.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt

from tfds_builders.synthetic_faces.rig import FaceRig, Sides

_Mask = npt.NDArray[np.float32]

VARIANTS = 6
"""Drawings of every fold; a person has one of them."""

_Point = int | tuple[int, int, float]
_Line = tuple[float, float, tuple[_Point, ...]]

# Folds by action unit: depth, softness (px of a map of 512), polyline on the subject's right; the
# left is its mirror image. A point is a mesh vertex, or (a, b, t) on the way from vertex a to b.
_LINES: dict[int, tuple[_Line, ...]] = {
    1: tuple(
        (0.5, 1.4, ((9, 10, t - 0.03), (107, 109, t), (66, 67, t + 0.02), (105, 103, t - 0.08)))
        for t in (0.28, 0.46, 0.64)
    ),
    2: tuple(
        (0.5, 1.4, ((66, 67, t - 0.02), (105, 103, t), (63, 54, t - 0.02), (70, 54, t - 0.12)))
        for t in (0.30, 0.50, 0.70)
    ),
    4: (
        (1.1, 1.6, ((9, 107, 0.40), (8, 55, 0.50), (168, 55, 0.45))),
        (0.5, 1.6, ((9, 151, 0.25), (9, 107, 0.80))),
    ),
    6: (
        (0.9, 1.3, ((226, 113, 0.7), (124, 35, 0.3), (124, 156, 0.6))),
        (1.1, 1.3, ((226, 35, 0.3), (35, 143, 0.2), (143, 34, 0.3))),
        (0.9, 1.3, ((31, 35, 0.4), (111, 143, 0.5), (116, 34, 0.5))),
        (0.9, 2.2, ((31, 228, 0.3), 228, 229, 230, (230, 231, 0.8))),
    ),
    7: ((0.8, 1.6, ((25, 228, 0.4), (110, 228, 0.4), (24, 229, 0.4), (22, 231, 0.4))),),
    9: (
        (1.0, 1.6, ((168, 6, 0.5), (193, 122, 0.6), (244, 188, 0.4))),
        (1.0, 1.6, ((6, 197, 0.45), (122, 196, 0.5), (188, 217, 0.4))),
        (0.7, 1.6, ((197, 195, 0.3), (174, 217, 0.3), (114, 47, 0.3))),
    ),
    10: ((1.0, 2.6, (129, (203, 165, 0.35), (206, 92, 0.35), (216, 186, 0.6))),),
    12: (
        (
            1.0,
            2.6,
            ((129, 203, 0.3), (203, 165, 0.3), (206, 92, 0.3), (216, 186, 0.5), (212, 57, 0.55)),
        ),
    ),
    14: ((1.0, 2.2, ((186, 216, 0.35), (57, 212, 0.35), (43, 202, 0.40))),),
    15: ((0.7, 2.8, ((57, 43, 0.7), (43, 202, 0.3), (202, 204, 0.5), (211, 204, 0.6))),),
    17: ((0.9, 2.6, ((18, 200, 0.55), (83, 201, 0.50), (182, 194, 0.60))),),
}


# Bulges by action unit: mesh vertex on the subject's right, radius (px of a map of 512), height.
_BULGES: dict[int, tuple[tuple[int, float, float], ...]] = {
    4: ((107, 15, 0.5), (55, 13, 0.4)),
    6: ((118, 22, 0.7), (50, 26, 0.8)),
    9: ((198, 10, 0.7), (122, 10, 0.5)),
    10: ((203, 12, 0.5),),
    12: ((205, 24, 0.8), (50, 22, 0.4)),
    15: ((210, 12, 0.5),),
    17: ((199, 20, 0.5), (208, 16, 0.5)),
    24: ((62, 9, 0.4),),
}
_DIMPLES = 60  # of the chin that AU17 raises


class CreaseMap:
    """Draws the folds of a face as a height map in the skin's texture layout.

    Args:
        rig: gives the texture coordinates of the mesh vertices.
        size: side of the map, px.
        bulges: whether to draw bulges and dimples too.
    """

    def __init__(self, rig: FaceRig, size: int = 512, *, bulges: bool = False) -> None:
        self.size = size
        self.bulges = bulges
        self.rises: dict[int, tuple[_Mask, _Mask]] = {}
        uv_of = np.zeros(len(rig.vertices), np.int64)
        uv_of[rig.triangles.ravel()] = rig.uv_triangles.ravel()
        points = rig.uv[uv_of[rig.mesh_index]] * size
        self.points = np.stack([points[:, 0], size - points[:, 1]], axis=1)
        places = rig.vertices[rig.mesh_index]
        mirrored = places * (-1, 1, 1)
        self.mirror = np.linalg.norm(places[:, None] - mirrored[None], axis=2).argmin(axis=0)
        self.masks: dict[tuple[int, int], tuple[_Mask, _Mask]] = {}

    def _mask(self, number: int, variant: int) -> tuple[_Mask, _Mask]:
        """Returns the folds of a unit on the left and on the right."""
        if (number, variant) not in self.masks:
            rng = np.random.default_rng([variant, number])
            jitter = rng.normal(0, 0.0035, (8, 6, 2)) * self.size
            depths = rng.uniform(0.7, 1.1, 8)
            sides = []
            for left in (True, False):
                mask = np.zeros((self.size, self.size), np.float32)
                for (depth, soft, line), shake, share in zip(
                    _LINES[number], jitter, depths, strict=False
                ):
                    spots = np.array([self._spot(point, left) for point in line])
                    mask += self._stroke(spots + shake[: len(spots)], depth * share, soft)
                if self.bulges and number == 17:
                    mask += self._dimples(rng)
                sides.append(mask)
            self.masks[number, variant] = sides[0], sides[1]
        return self.masks[number, variant]

    def _stroke(self, spots: npt.NDArray[np.float64], depth: float, soft: float) -> _Mask:
        mask = np.zeros((self.size, self.size), np.float32)
        curve = _smooth(spots)
        for i, ends in enumerate(itertools.pairwise(curve)):
            along = (i + 0.5) / (len(curve) - 1)
            strength = depth * min(1.0, 4 * along * (1 - along) + 0.1)
            # Four bits of sub-pixel position.
            start, end = (np.round(point * 16).astype(int).tolist() for point in ends)
            cv2.line(mask, start, end, strength, 2, cv2.LINE_8, 4)
        # A line 2 px wide loses this much of its height to the blur.
        return np.asarray(cv2.GaussianBlur(mask, (0, 0), soft) * (soft * 1.25), np.float32)

    def _dimples(self, rng: np.random.Generator) -> _Mask:
        """Pricks one half of the chin: both halves add up to one chin."""
        mask = np.zeros((self.size, self.size), np.float32)
        for _ in range(_DIMPLES // 2):
            spot = self.points[199] + rng.normal(0, (16, 10))
            depth, soft = rng.uniform(0.4, 1.0), np.round(spot * 16).astype(int).tolist()
            cv2.circle(mask, soft, 16, depth, -1, cv2.LINE_AA, 4)
        return np.asarray(cv2.GaussianBlur(mask, (0, 0), 1.3) * 2.0, np.float32)

    def _rise(self, number: int) -> tuple[_Mask, _Mask]:
        """Returns the bulges of a unit on the left and on the right."""
        if number not in self.rises:
            rows, columns = np.mgrid[: self.size, : self.size].astype(np.float32)
            sides = []
            for left in (True, False):
                mask = np.zeros((self.size, self.size), np.float32)
                for vertex, radius, height in _BULGES[number]:
                    x, y = self._spot(vertex, left)
                    away = ((columns - x) ** 2 + (rows - y) ** 2) / radius**2
                    mask += np.float32(height) * np.exp(-away, dtype=np.float32)
                sides.append(mask)
            self.rises[number] = sides[0], sides[1]
        return self.rises[number]

    def _spot(self, point: _Point, left: bool) -> npt.NDArray[np.float64]:
        a, b, t = point if isinstance(point, tuple) else (point, point, 0.0)
        if left:
            a, b = int(self.mirror[a]), int(self.mirror[b])
        return np.asarray((1 - t) * self.points[a] + t * self.points[b])

    def draw(self, creases: Mapping[int, Sides], gain: float, variant: int) -> bytes:
        """Adds up the folds of an expression.

        Args:
            creases: (left, right) intensity 0 to 5 by action unit; units without folds are ignored.
            gain: depth of the folds of this person at intensity 5.
            variant: which drawing, 0 to `VARIANTS` - 1.

        Returns:
            (size, size, 2) bytes, bottom row first, as OpenGL wants them: folds and bulges.
        """
        total = np.zeros((2, self.size, self.size), np.float32)
        for number, sides in creases.items():
            drawn = [self._mask(number, variant)] if number in _LINES else []
            if self.bulges and number in _BULGES:
                drawn = [*drawn, self._rise(number)]
            for channel, masks in zip((0, 1) if number in _LINES else (1,), drawn, strict=False):
                for mask, intensity in zip(masks, sides, strict=True):
                    total[channel] += np.float32(gain * intensity / 5) * mask
        stacked = np.clip(total, 0, 1)[:, ::-1].transpose(1, 2, 0) * 255
        return np.ascontiguousarray(stacked).astype(np.uint8).tobytes()


def _smooth(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rounds the corners of a polyline (Chaikin's rule), ends fixed."""
    for _ in range(3):
        near = 0.75 * points[:-1] + 0.25 * points[1:]
        far = 0.25 * points[:-1] + 0.75 * points[1:]
        inner = np.stack([near, far], axis=1).reshape(-1, 2)
        points = np.concatenate([points[:1], inner, points[-1:]])
    return points
