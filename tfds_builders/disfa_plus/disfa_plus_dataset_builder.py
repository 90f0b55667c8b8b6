"""DISFA+ as a TFDS data set."""

from __future__ import annotations

import tensorflow_datasets as tfds

from tfds_builders.disfa_plus import layout
from tfds_builders.face_set import FaceSet, FaceSetConfig


class Builder(FaceSet):
    """Reads DISFA+ (Extended DISFA).

    `Images/` and `Labels/` are read; `FaceLandmarks/` is not. The set is for research, by
    agreement with the University of Denver:
    https://mohammadmahoor.com/pages/databases/disfa_plus/.
    """

    LAYOUT = layout
    LICENCE = "research only, by agreement with the University of Denver"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First preparation."}
    BUILDER_CONFIGS = [
        FaceSetConfig(
            name="intensity",
            description="12 units in every frame, intensity 0 to 5; seen from 2 on.",
            presence_from=float(layout.PRESENT_FROM),
        )
    ]
