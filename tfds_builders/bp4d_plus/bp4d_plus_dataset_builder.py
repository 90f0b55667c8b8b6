"""BP4D+ as a TFDS data set."""

from __future__ import annotations

import tensorflow_datasets as tfds

from tfds_builders.bp4d_plus import layout
from tfds_builders.face_set import FaceSet, FaceSetConfig


class Builder(FaceSet):
    """Reads BP4D+ (Multimodal Spontaneous Emotion Corpus).

    `2D+3D/` and `AUCoding/` are read; heat pictures, physiology, features and 3D models are not.
    The set is for research, by agreement with Binghamton University:
    https://www.cs.binghamton.edu/~lijun/Research/3DFE/3DFE_Analysis.html.
    """

    LAYOUT = layout
    LICENCE = "research only, by agreement with Binghamton University"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First preparation."}
    BUILDER_CONFIGS = [
        FaceSetConfig(
            name="occurrence", description="The 12 units of BP4D, seen or not; no intensity."
        ),
        FaceSetConfig(name="occurrence_22", description="22 units, seen or not; no intensity."),
        FaceSetConfig(
            name="intensity",
            description="5 units, intensity 0 to 5; seen from 1 on.",
            presence_from=float(layout.PRESENT_FROM),
        ),
    ]
