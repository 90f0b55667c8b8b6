"""Where BP4D+ keeps its labels and pictures: as BP4D, with fewer tasks coded and more units."""

from __future__ import annotations

from tfds_builders.bp4d import layout as bp4d
from tfds_builders.recordings import ManualDir, Recording, Report

TREE = """
2D+3D/                   or Sequences/
  F001.zip               or F001/, with a folder or a zip per task
    F001/T1/0000.jpg     any folder above T1/, any number of leading zeros
    ...
  M058.zip
AUCoding/
  AU_OCC/
    F001_T1.csv          header of unit numbers; frame, then 0, 1 or 9 for each unit
    ...                  T1, T6, T7 and T8
  AU_INT/
    AU06/
      F001_T1_AU06.csv   frame,intensity, 0 to 5 or 9
      ...
    AU10/ AU12/ AU14/ AU17/ ...
"""
UNITS = {
    "occurrence": bp4d.UNITS["occurrence"],
    "occurrence_22": (
        *(1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 22, 23, 24, 27, 28),
    ),
    "intensity": bp4d.UNITS["intensity"],
}
PRESENT_FROM = bp4d.PRESENT_FROM


def recordings(folder: ManualDir, config: str, report: Report) -> list[Recording]:
    """Reads the labels and the names of the pictures.

    Args:
        folder: The set as its owners ship it.
        config: A key of `UNITS`.
        report: Takes what cannot be used.

    Returns:
        A recording per subject and coded task.

    Raises:
        DatasetError: If a file or folder is missing or malformed, or two files disagree.
    """
    return bp4d.read(folder, UNITS[config], intensity=config == "intensity", report=report)
