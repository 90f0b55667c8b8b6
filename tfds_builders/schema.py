"""What a prepared set holds, the same for every data set. TensorFlow is imported only to say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tfau.core.action_units import AUSet
from tfau.core.examples import AUExample
from tfau.core.faces import MESH_VERTICES

if TYPE_CHECKING:
    import tensorflow_datasets as tfds


def features(aus: AUSet, crop_size: int, *, mesh: bool = True) -> tfds.features.FeaturesDict:
    """Names what an example holds.

    Args:
        aus: The units, in the order of points and presence.
        crop_size: Side S of the crops, px.
        mesh: Whether the mesh is there.

    Returns:
        `image` (S, S, 3) JPEG; `points` (P, 3) x px, y px, intensity 0-5; `presence` (A,) 1 or 0;
        `subject`, `sequence`, `group`, `emotion`, empty where unknown; `frame`; `mesh` (468, 3)
        crop px. What is not coded is NaN.
    """
    import tensorflow_datasets as tfds

    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(crop_size, crop_size, 3), encoding_format="jpeg"),
            "points": tfds.features.Tensor(shape=(len(aus.point_names), 3), dtype=np.float32),
            "presence": tfds.features.Tensor(shape=(len(aus),), dtype=np.float32),
            "subject": tfds.features.Text(),
            "sequence": tfds.features.Text(),
            "group": tfds.features.Text(),
            "emotion": tfds.features.Text(),
            "frame": tfds.features.Scalar(np.int32),
        }
        | (
            {"mesh": tfds.features.Tensor(shape=(MESH_VERTICES, 3), dtype=np.float32)}
            if mesh
            else {}
        )
    )


def metadata(
    aus: AUSet, crop_size: int, *, licence: str, description: str, presence_from: float | None
) -> tfds.core.MetadataDict:
    """Says about a set what its examples do not.

    Args:
        aus: The units.
        crop_size: Side of the crops, px.
        licence: Who may do what with it, in a line.
        description: What it is, in a line.
        presence_from: Intensity from which a unit counts as seen; None where that was coded as
            such.
    """
    import tensorflow_datasets as tfds

    return tfds.core.MetadataDict(
        {
            "action_units": list(aus.numbers),
            "crop_size": crop_size,
            "licence": licence,
            "description": description,
            "presence_from": presence_from,
        }
    )


def row(example: AUExample, jpeg: bytes) -> dict[str, Any]:
    """Turns an example into what TFDS writes.

    Args:
        example: The example, with presence.
        jpeg: Its image, encoded: what is stored is not encoded twice.
    """
    fields = {
        "image": jpeg,
        "points": example.points,
        "presence": example.presence,
        "subject": example.subject,
        "sequence": example.sequence,
        "group": example.group,
        "emotion": example.emotion,
        "frame": example.frame,
    }
    return fields if example.mesh is None else fields | {"mesh": example.mesh}
