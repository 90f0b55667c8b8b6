"""The answer for one face in one frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfau.core.action_units import AUSet
from tfau.core.faces import FaceFrame


@dataclass(frozen=True, eq=False)
class FaceGeometry:
    """Holds what the mesh alone tells of a face.

    Camera axes: x right, y down, z away from the camera. A face that looks into the camera has
    rotation 0 and gaze (0, 0, -1).

    Args:
        rotation: (3,) radians about x, y, z: R = Rx Ry Rz. Positive x: nose down; positive y: nose
            to the subject's right; positive z: crown to the subject's left.
        translation: (3,) mm from the camera to midway between the outer eye corners. It is as good
            as the guess that the lens sees 53 degrees of the frame's longer side, and that outer
            eye corners are 90 mm apart.
        gaze: (2, 3) unit vectors of the left and right eye; NaN without irises.
        eye_aspect: (2,) of the left and right eye, see `signals.eye_aspect_ratio`.
    """

    rotation: npt.NDArray[np.float64]
    translation: npt.NDArray[np.float64]
    gaze: npt.NDArray[np.float64]
    eye_aspect: npt.NDArray[np.float64]

    @property
    def yaw_deg(self) -> float:
        """Turn of the head, degrees; positive towards the subject's left."""
        return -math.degrees(self.rotation[1])

    @property
    def pitch_deg(self) -> float:
        """Nod of the head, degrees; positive downwards."""
        return math.degrees(self.rotation[0])

    @property
    def gaze_angles(self) -> npt.NDArray[np.float64]:
        """(2,) radians: to the subject's left, and down, relative to the camera."""
        x, y, z = self.gaze.mean(axis=0)
        return np.array([math.atan2(x, -z), math.atan2(y, -z)])


@dataclass(frozen=True, eq=False)
class AUReading:
    """Holds what a model says of one face.

    Args:
        aus: The units the model knows; they order all that follows.
        intensities: (A,) float32, 0-5; NaN where there is no answer.
        uncertainties: (A,) float32: by how much `intensities` are expected to be wrong, up or
            down; NaN where the model does not know.
        points: (P, 3) float32: x px, y px in the frame, intensity; x and y are NaN where the
            unit is absent and hence has no place.
        face: The face it is about.
        success: False where the face could not be read.
        reason: What is wrong with the picture, codes of `edge.quality` with spaces between them;
            empty if nothing is.
        quality: 0 to 1, how good the picture is for reading it.
        geometry: Head pose, gaze and eyes, where they were measured.
        maps: (H, W, P) float32 maps of the network, where it draws any.
        to_maps: (2, 3) similarity, frame px -> map px.
        features: (D,) float32, what a pair network makes of the face: those of the person at rest
            calibrate it.
    """

    aus: AUSet
    intensities: npt.NDArray[np.float32]
    uncertainties: npt.NDArray[np.float32]
    points: npt.NDArray[np.float32]
    face: FaceFrame | None
    success: bool = True
    reason: str = ""
    quality: float = 1.0
    geometry: FaceGeometry | None = None
    maps: npt.NDArray[np.float32] | None = None
    to_maps: npt.NDArray[np.float64] | None = None
    features: npt.NDArray[np.float32] | None = None
