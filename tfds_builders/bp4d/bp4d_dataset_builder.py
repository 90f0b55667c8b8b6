"""BP4D-Spontaneous as a TFDS data set."""

from __future__ import annotations

import tensorflow_datasets as tfds

from tfds_builders.bp4d import layout
from tfds_builders.face_set import FaceSet, FaceSetConfig


class Builder(FaceSet):
    """Reads BP4D-Spontaneous.

    The pictures and `AUCoding/` are read, as Binghamton University or FERA 2015 hands them out;
    3D models, features and head poses are not. The set is for research, by agreement:
    https://www.cs.binghamton.edu/~lijun/Research/3DFE/3DFE_Analysis.html.
    """

    LAYOUT = layout
    LICENCE = "research only, by agreement with Binghamton University"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First preparation."}
    BUILDER_CONFIGS = [
        FaceSetConfig(name="occurrence", description="12 units, seen or not; no intensity."),
        FaceSetConfig(
            name="intensity",
            description="5 units, intensity 0 to 5; seen from 1 on.",
            presence_from=float(layout.PRESENT_FROM),
        ),
    ]
