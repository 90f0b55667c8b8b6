"""Frames of people who do not exist, for imitations of data sets that may not be handed on."""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from tfds_builders.synthetic_faces.shards import IDENTITIES_PER_SHARD, read_shard

_SHARDS = Path(__file__).parent / "synthetic_faces" / "tiny"
_PEOPLE, _PICTURES = 200, 10


def frame(subject: int, number: int) -> npt.NDArray[np.uint8]:
    """Shows a person: a rendered crop on grey, so placed that the face mesh finds it.

    Args:
        subject: The same number is the same person, up to 200 of them.
        number: The same number is the same expression, up to 10 of them.

    Returns:
        (240, 320, 3) uint8 RGB.
    """
    jpeg = _pictures(subject % _PEOPLE // IDENTITIES_PER_SHARD)[
        subject % _PEOPLE % IDENTITIES_PER_SHARD * _PICTURES + number % _PICTURES
    ]
    picture = np.full((240, 320, 3), 128, np.uint8)
    crop = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    picture[56:184, 96:224] = cv2.cvtColor(crop, cv2.COLOR_BGR2RGB)  # type: ignore[arg-type]
    return picture


def write_picture(path: Path, subject: int, number: int) -> None:
    """Writes a frame as the kind of picture that the suffix says; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = cv2.imencode(
        path.suffix.lower(), cv2.cvtColor(frame(subject, number), cv2.COLOR_RGB2BGR)
    )
    path.write_bytes(data[1].tobytes())


def write_video(path: Path, subject: int, length: int) -> None:
    """Writes the frames from 0 to `length` - 1 as a Motion JPEG; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (320, 240))
    for number in range(length):
        writer.write(cv2.cvtColor(frame(subject, number), cv2.COLOR_RGB2BGR))
    writer.release()


@functools.cache
def _pictures(shard: int) -> list[bytes]:
    return [row["jpeg"] for row in read_shard(sorted(_SHARDS.glob("*.npz"))[shard])]
