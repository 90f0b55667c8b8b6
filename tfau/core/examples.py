"""The contract of one training example."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

EMOTIONS = ("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
"""The emotions that are told apart, in output order, as CK+ names them; a neutral face shows none
of them."""


@dataclass(frozen=True, eq=False)
class AUExample:
    """Holds one labelled face crop, whatever data set it comes from.

    Args:
        image: (S, S, 3) uint8 RGB crop made by `FaceAligner`.
        points: (P, 3) float32: x px, y px in the crop, intensity 0-5. NaN intensity: not coded.
        subject: Who is seen. Folds are split by it.
        sequence: Recording the frame belongs to.
        frame: Number of the frame in the sequence, as the owners count.
        presence: Optional (A,) float32: 1 seen, 0 not seen, NaN not coded. Kept apart from
            intensity, because many sets code it alone.
        group: Kind of person that scores are also shown for; empty if unknown.
        emotion: Name of the emotion; empty if it was not coded.
        mesh: Optional (468, 3) float32 mesh in crop px.

    Raises:
        ValueError: If a shape is wrong, an intensity lies outside 0-5 or a presence is not 0 or 1.
    """

    image: npt.NDArray[np.uint8]
    points: npt.NDArray[np.float32]
    subject: str
    sequence: str
    frame: int
    presence: npt.NDArray[np.float32] | None = None
    group: str = ""
    emotion: str = ""
    mesh: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        side = self.image.shape[0]
        if self.image.shape != (side, side, 3) or self.image.dtype != np.uint8:
            shape, dtype = self.image.shape, self.image.dtype
            raise ValueError(f"`image` must be (S, S, 3) uint8. Received: {shape} {dtype}.")
        if self.points.ndim != 2 or self.points.shape[1] != 3:
            raise ValueError(f"`points` must be (P, 3). Received: shape {self.points.shape}.")
        coded = self.points[:, 2][~np.isnan(self.points[:, 2])]
        if coded.size and not (coded.min() >= 0 and coded.max() <= 5):
            received = f"{coded.min():g} to {coded.max():g}"
            raise ValueError(f"Intensities must lie in 0-5. Received: {received}.")
        if self.presence is not None:
            coded = self.presence[~np.isnan(self.presence)]
            if self.presence.ndim != 1 or not np.isin(coded, (0, 1)).all():
                raise ValueError(
                    f"`presence` must be (A,) of 0, 1 and NaN. Received: {self.presence}."
                )
