"""How good a picture is for reading a face: reasons, and a figure from 0 to 1."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edge.warp import Image
from tfau.core import AUSet, FaceFrame, au_points
from tfau.core.readings import FaceGeometry

REASONS = {
    "no_face": "no face was found",
    "low_presence": "the mesh network is less than 80 % sure that there is a face",
    "small_face": "the outer eye corners are less than 24 px apart",
    "blurred": "edges are weaker than a blur of about 2 % of the crop's side leaves them",
    "under_exposed": "the median of the crop's grey levels is below 40",
    "over_exposed": "the median is above 215",
    "turned": "yaw beyond 35 degrees: units of the hidden side are not known",
    "extreme_pose": "yaw beyond 60 or pitch beyond 40 degrees: no unit is known",
    "at_border": "a part of the face is outside the frame: units there are not known",
    "calibrating": "the person's neutral face is still being learnt",
}
"""Every code and when it is given."""

_PRESENCE = (0.5, 0.8)
_EYES_PX = (12.0, 24.0)
_SHARPNESS = (0.04, 0.10)
_DARK, _BRIGHT = (20.0, 40.0), (245.0, 215.0)
_TURNED, _YAW_MAX, _PITCH_MAX = 35.0, 60.0, 40.0
_SIDE = 96


def judge(face: FaceFrame, geometry: FaceGeometry, crop: Image) -> tuple[float, list[str]]:
    """Judges one face.

    Args:
        face: The face in the frame.
        geometry: Its pose.
        crop: (S, S, 3) uint8 RGB aligned crop.

    Returns:
        Quality: the worst of presence, size, sharpness, exposure and pose, each 1 where no reason
        is given and 0 where hardly anything can be read; and the reasons, of `REASONS`.
    """
    reasons, marks = [], []

    def mark(value: float, limits: tuple[float, float], reason: str) -> None:
        worst, good = limits
        marks.append(float(np.clip((value - worst) / (good - worst), 0.0, 1.0)))
        if marks[-1] < 1.0:
            reasons.append(reason)

    mark(face.confidence, _PRESENCE, "low_presence")
    mark(float(np.linalg.norm(face.mesh[263, :2] - face.mesh[33, :2])), _EYES_PX, "small_face")
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    mark(sharpness(small), _SHARPNESS, "blurred")
    mark(float(np.median(small)), _DARK, "under_exposed")
    mark(float(np.median(small)), _BRIGHT, "over_exposed")
    yaw = abs(geometry.yaw_deg)
    marks.append(float(np.clip((_YAW_MAX - yaw) / (_YAW_MAX - _TURNED), 0.0, 1.0)))
    if is_extreme(geometry):
        reasons.append("extreme_pose")
        marks.append(0.0)
    elif yaw > _TURNED:
        reasons.append("turned")
    return min(marks), reasons


def sharpness(grey: npt.NDArray[np.float32]) -> float:
    """Returns the spread of the second derivative over the spread of the grey levels."""
    return float(cv2.Laplacian(grey, cv2.CV_32F).std()) / max(float(grey.std()), 1.0)


def is_extreme(geometry: FaceGeometry) -> bool:
    """Tells whether the head is turned too far for any unit."""
    return abs(geometry.yaw_deg) > _YAW_MAX or abs(geometry.pitch_deg) > _PITCH_MAX


def hidden_points(
    face: FaceFrame, geometry: FaceGeometry, aus: AUSet
) -> tuple[npt.NDArray[np.bool_], bool]:
    """Finds the points of units that the camera cannot see.

    Args:
        face: The face.
        geometry: Its pose.
        aus: The units.

    Returns:
        (P,) true where a point is hidden, and whether some are because the frame ends there.
    """
    outside = np.zeros(len(aus.point_names), bool)
    if _is_beyond(face.mesh, face.frame_size).any():
        outside = _is_beyond(au_points(face.mesh, aus), face.frame_size)
    hidden = outside.copy()
    if is_extreme(geometry):
        hidden[:] = True
    elif abs(geometry.yaw_deg) > _TURNED:
        away = "left" if geometry.yaw_deg > 0 else "right"
        hidden |= np.array([name.endswith(away) for name in aus.point_names])
    return hidden, bool(outside.any())


def _is_beyond(
    points: npt.NDArray[np.float32], frame_size: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """Tells which of (N, 2 or more) points lie outside the frame."""
    end = np.array(frame_size) - 0.5
    return np.asarray(((points[:, :2] < -0.5) | (points[:, :2] > end)).any(axis=1))
