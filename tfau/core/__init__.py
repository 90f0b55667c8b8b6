"""The vocabulary that training and the edge share. Numpy and the standard library only."""

from tfau.core.action_units import ACTION_UNITS, ActionUnit, AUSet
from tfau.core.align import FaceAligner
from tfau.core.bundle import EdgeBundle, Golden
from tfau.core.errors import BundleError, DatasetError, MissingExtra, SourceError
from tfau.core.examples import AUExample
from tfau.core.faces import FaceFrame, au_points
from tfau.core.heatmaps import HeatmapCodec
from tfau.core.readings import AUReading

__all__ = [
    "ACTION_UNITS",
    "AUExample",
    "AUReading",
    "AUSet",
    "ActionUnit",
    "BundleError",
    "DatasetError",
    "EdgeBundle",
    "FaceAligner",
    "FaceFrame",
    "Golden",
    "HeatmapCodec",
    "MissingExtra",
    "SourceError",
    "au_points",
]
