"""One face in one frame: the mesh, the 68 classic landmarks in it, and where units show on it.

Landmark numbers below 68 are those of the 68-point scheme (iBUG 300-W, zero-based): jaw 0-16, brows
17-26, nose 27-35, eyes 36-47, lips 48-67. 17-21, 36-41 and 48 are on the subject's right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tfau.core.action_units import AUSet

MESH_VERTICES = 468
"""Vertices of the MediaPipe face mesh; ten more follow where the iris is tracked."""

# fmt: off
MESH_TO_68: npt.NDArray[np.intp] = np.array([
    127, 234, 93, 132, 58, 172, 150, 176, 152, 400, 379, 397, 288, 361, 323, 454, 356,  # jaw
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,                                      # brows
    168, 197, 5, 4, 98, 97, 2, 326, 327,                                                # nose
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,                          # eyes
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,                                # outer lip
    78, 81, 13, 311, 308, 402, 14, 178,                                                 # inner lip
], dtype=np.intp)
"""(68,) mesh vertex nearest to each landmark of the 68-point scheme."""
# fmt: on


def _mirror() -> npt.NDArray[np.intp]:
    """MediaPipe counts the middle and the right side first, then the left side in that order."""
    middle = (
        *(0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19),
        *(94, 151, 152, 164, 168, 175, 195, 197, 199, 200),
    )
    right = np.setdiff1d(np.arange(248), middle)
    mirror = np.arange(MESH_VERTICES)
    mirror[right], mirror[248:] = mirror[248:].copy(), right
    return mirror


MESH_MIRROR = _mirror()
"""(468,) for each mesh vertex the one on the other side of the face."""


def _sides(name: str, right: tuple[int, ...], left: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {f"{name}_right": right, f"{name}_left": left}


def _midline(
    name: str, upper: tuple[int, ...], lower: tuple[int, ...]
) -> dict[str, tuple[int, ...]]:
    return {f"{name}_upper": upper, f"{name}_lower": lower}


# The unit's point is the mean of these landmarks.
# AU6, 10, 12, 14, 17: deduced from the published sample rows of the AAAI 2020 heatmap method.
# AU1, 2, 4, 9, 15, 23, 24, 25: as in FG-Net (WACV 2024). The others are our choice of a landmark
# on the skin that the unit moves most.
AU_LANDMARKS: dict[str, tuple[int, ...]] = {
    **_sides("AU01", (21,), (22,)),
    **_sides("AU02", (17,), (26,)),
    **_sides("AU04", (17, 18, 19, 20, 21), (22, 23, 24, 25, 26)),
    **_sides("AU05", (37, 38), (43, 44)),
    **_sides("AU06", (36, 2), (45, 14)),
    **_sides("AU07", (40, 41), (46, 47)),
    **_sides("AU09", (39,), (42,)),
    **_sides("AU10", (49,), (53,)),
    **_sides("AU11", (31, 48), (35, 54)),
    **_sides("AU12", (48,), (54,)),
    **_sides("AU13", (48, 49), (53, 54)),
    **_sides("AU14", (48, 3), (54, 13)),
    **_sides("AU15", (48,), (54,)),
    **_sides("AU16", (58,), (56,)),
    **_midline("AU17", (57,), (57, 8)),
    **_midline("AU18", (51,), (57,)),
    **_sides("AU20", (48,), (54,)),
    **_midline("AU22", (51,), (57,)),
    **_midline("AU23", (51,), (57,)),
    **_midline("AU24", (51,), (57,)),
    **_midline("AU25", (51,), (57,)),
    **_midline("AU26", (57,), (8,)),
    **_midline("AU27", (57,), (8,)),
    **_midline("AU28", (62,), (66,)),
    **_sides("AU43", (36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47)),
    **_sides("AU45", (36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47)),
}


@dataclass(frozen=True, eq=False)
class FaceFrame:
    """Holds one face found in one frame.

    Args:
        mesh: (468 or 478, 3) float32 MediaPipe mesh in frame pixels; x right, y down, z in the
            same scale and smaller towards the camera.
        frame_size: Width and height of the frame, px.
        timestamp_ms: Presentation time of the frame.
        track_id: The same number for the same face from frame to frame.
        confidence: Presence score of the mesh, 0 to 1.
        blendshapes: (52,) float32 MediaPipe's blendshapes, 0 to 1, where they were estimated.

    Raises:
        ValueError: If the mesh has another shape.
    """

    mesh: npt.NDArray[np.float32]
    frame_size: tuple[int, int]
    timestamp_ms: float = 0.0
    track_id: int = 0
    confidence: float = 1.0
    blendshapes: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.mesh.shape not in ((MESH_VERTICES, 3), (MESH_VERTICES + 10, 3)):
            raise ValueError(f"`mesh` must be (468 or 478, 3). Received: shape {self.mesh.shape}.")


def landmarks_68(mesh: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns the (68, 2) classic landmarks of a (468 or 478, 3) mesh, in its own unit."""
    return np.asarray(mesh[MESH_TO_68, :2])


def au_points(mesh: npt.NDArray[Any], aus: AUSet) -> npt.NDArray[np.float32]:
    """Places the points of action units on a face.

    Args:
        mesh: (468 or 478, 2 or 3) mesh vertices, px.
        aus: The units; `aus.point_names` gives the order.

    Returns:
        (P, 2) float32 x, y in the unit of the mesh.

    References:
        - Fan, Lam and Li, AAAI 2020, https://arxiv.org/abs/2004.09681.
        - Yin et al., "FG-Net", WACV 2024.
    """
    landmarks = landmarks_68(mesh)
    points = [landmarks[list(AU_LANDMARKS[name])].mean(axis=0) for name in aus.point_names]
    return np.stack(points).astype(np.float32)
