"""Lists of pictures with places and intensities of units, as a TFDS data set."""

from __future__ import annotations

import tensorflow_datasets as tfds

from tfds_builders.au_list import layout
from tfds_builders.face_set import FaceSet, FaceSetConfig


class Builder(FaceSet):
    """Reads lists in the format of Fan, Lam and Li (AAAI 2020), as JSON or text.

    The lists and the pictures that they name are read. The format and two sample rows are public,
    https://github.com/EvelynFan/FAU; their pictures are BP4D's and DISFA's, to be requested from
    the owners of these.
    """

    LAYOUT = layout
    LICENCE = "that of the pictures"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First preparation."}
    BUILDER_CONFIGS = [
        FaceSetConfig(
            name=name,
            description=f"{len(units)} units with places, intensity 0 to 5; seen from "
            f"{layout.PRESENT_FROM[name]} on.",
            presence_from=float(layout.PRESENT_FROM[name]),
        )
        for name, units in layout.UNITS.items()
    ]
