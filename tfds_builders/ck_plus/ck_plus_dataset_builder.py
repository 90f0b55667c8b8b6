"""CK+ as a TFDS data set."""

from __future__ import annotations

import tensorflow_datasets as tfds

from tfds_builders.ck_plus import layout
from tfds_builders.face_set import FaceSet, FaceSetConfig


class Builder(FaceSet):
    """Reads CK+ (Extended Cohn-Kanade), phase 1.

    `cohn-kanade-images/`, `FACS/` and `Emotion/` are read; `Landmarks/` is not. The set is for
    research, by agreement with the University of Pittsburgh: https://www.jeffcohn.net/Resources/.
    """

    LAYOUT = layout
    LICENCE = "research only, by agreement with the University of Pittsburgh"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First preparation."}
    BUILDER_CONFIGS = [
        FaceSetConfig(name="all", description="20 units seen in 20 sequences or more; emotions."),
        FaceSetConfig(name="most_17", description="17 units in more than 35 sequences; emotions."),
        FaceSetConfig(name="most_10", description="10 units in more than 90 sequences; emotions."),
    ]
