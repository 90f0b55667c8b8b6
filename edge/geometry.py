"""What the mesh alone tells: head pose, gaze, how far the eyes are open."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from tfau.core import FaceFrame
from tfau.core.align import procrustes
from tfau.core.readings import FaceGeometry
from tfau.core.signals import eye_aspect_ratio

Floats = npt.NDArray[np.float64]

# The mean of 300 heads of our CC0 rig at rest, made symmetric, where expressions move it little:
# in units of the distance of the outer eye corners, origin midway between them; x to the subject's
# left, y down, z away from the camera.
HEAD = {
    33: (-0.500, 0.000, 0.000),
    133: (-0.191, 0.045, -0.051),
    362: (0.191, 0.045, -0.051),
    263: (0.500, 0.000, 0.000),
    168: (0.000, 0.020, -0.170),
    6: (0.000, 0.100, -0.194),
    127: (-0.806, -0.006, 0.614),
    356: (0.806, -0.006, 0.614),
    1: (0.000, 0.490, -0.379),
    4: (0.000, 0.410, -0.388),
    5: (0.000, 0.341, -0.352),
    197: (0.000, 0.206, -0.258),
    10: (0.000, -0.523, -0.161),
    151: (0.000, -0.373, -0.194),
    9: (0.000, -0.154, -0.192),
    103: (-0.545, -0.529, 0.058),
    332: (0.545, -0.529, 0.058),
    234: (-0.829, 0.184, 0.746),
    454: (0.829, 0.184, 0.746),
    21: (-0.770, -0.306, 0.509),
    251: (0.770, -0.306, 0.509),
    98: (-0.168, 0.520, -0.174),
    327: (0.168, 0.520, -0.174),
}
_VERTICES = list(HEAD)
_MODEL = np.array(list(HEAD.values()))
EYE_DISTANCE_MM = 90.0
_EYEBALL = 0.4  # radius over the width of the eye: 12 mm to 30 mm
_IRIS_REST = -0.045  # the iris looks straight ahead that much of the eye's width above its corners
_IRISES = ((263, 362, 473), (33, 133, 468))  # left and right: corners, centre of the iris
# Mean gap between the lids over the width of the eye, of half the open eyes and closed ones.
_OPEN, _CLOSED = 0.24, 0.10


def measure(face: FaceFrame) -> FaceGeometry:
    """Measures head pose, gaze and eyes of one face.

    The pose comes from the picture's coordinates of 23 vertices (perspective-n-point), the
    gaze from where the irises lie in the frontalised eyes: a rough one.

    Args:
        face: The face; without irises its gaze is NaN.

    References:
        Terzakis and Lourakis, "A Consistently Fast and Globally Optimal Solution to the
        Perspective-n-Point Problem", ECCV 2020.
    """
    width, height = face.frame_size
    # The lens is unknown; webcams and phones see about 53 degrees of the longer side.
    focal = float(max(width, height))
    camera = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    mesh = face.mesh.astype(np.float64)
    found, turn, shift = cv2.solvePnP(
        _MODEL * EYE_DISTANCE_MM,
        np.ascontiguousarray(mesh[_VERTICES, :2]),
        camera,
        np.zeros(0),
        flags=cv2.SOLVEPNP_SQPNP,
    )
    if not found:
        unknown = np.full(3, np.nan)
        return FaceGeometry(unknown, unknown, np.full((2, 3), np.nan), eye_aspect_ratio(mesh))
    rotation = np.asarray(cv2.Rodrigues(turn)[0], np.float64)
    return FaceGeometry(
        _euler(rotation),
        np.asarray(shift, np.float64).reshape(3),
        _gaze(mesh, rotation),
        eye_aspect_ratio(mesh),
    )


def closure(eye_aspect: npt.NDArray[np.float64]) -> Floats:
    """Turns (2,) eye aspect ratios into intensities of closed lids, 0 to 5 (AU43, AU45)."""
    return np.clip((_OPEN - eye_aspect) / (_OPEN - _CLOSED), 0.0, 1.0) * 5.0


def _euler(rotation: Floats) -> Floats:
    """Returns the (3,) angles about x, y, z, radians, of R = Rx Ry Rz."""
    return np.array(
        [
            math.atan2(-rotation[1, 2], rotation[2, 2]),
            math.asin(min(max(rotation[0, 2], -1.0), 1.0)),
            math.atan2(-rotation[0, 1], rotation[0, 0]),
        ]
    )


def _gaze(mesh: Floats, rotation: Floats) -> Floats:
    """Returns the (2, 3) directions of the eyes in camera axes."""
    directions = np.full((2, 3), np.nan)
    if len(mesh) == 468:
        return directions
    scale, turn, shift = procrustes(mesh[_VERTICES], _MODEL)
    for side, (outer, inner, iris) in enumerate(_IRISES):
        corners, centre = (scale * mesh[rows] @ turn.T + shift for rows in ([outer, inner], [iris]))
        width = max(float(np.linalg.norm(corners[0] - corners[1])), 1e-9)
        across, down = (centre[0] - corners.mean(axis=0))[:2] / width - (0.0, _IRIS_REST)
        ahead = np.clip(np.array([across, down]) / _EYEBALL, -0.95, 0.95)
        forward = -math.sqrt(max(1.0 - float((ahead**2).sum()), 0.0))
        directions[side] = rotation @ np.array([*ahead, forward])
        directions[side] /= np.linalg.norm(directions[side])
    return directions
