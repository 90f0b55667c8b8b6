"""DISFA as a TFDS data set."""

from __future__ import annotations

import tensorflow_datasets as tfds

from tfds_builders.disfa import layout
from tfds_builders.face_set import FaceSet, FaceSetConfig


class Builder(FaceSet):
    """Reads DISFA (Denver Intensity of Spontaneous Facial Action).

    `ActionUnit_Labels/` and `Videos_LeftCamera/` are read; the right camera and the landmark
    points are not. The set is handed out to researchers by the University of Denver:
    http://mohammadmahoor.com/disfa/.
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
