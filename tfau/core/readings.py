"""The answer for one face in one frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfau.core.action_units import AUSet
from tfau.core.faces import FaceFrame


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
        reason: Why not, e.g. `"no_face"`; empty on success.
        maps: (H, W, P) float32 maps of the network, where it draws any.
        to_maps: (2, 3) similarity, frame px -> map px.
    """

    aus: AUSet
    intensities: npt.NDArray[np.float32]
    uncertainties: npt.NDArray[np.float32]
    points: npt.NDArray[np.float32]
    face: FaceFrame | None
    success: bool = True
    reason: str = ""
    maps: npt.NDArray[np.float32] | None = None
    to_maps: npt.NDArray[np.float64] | None = None
