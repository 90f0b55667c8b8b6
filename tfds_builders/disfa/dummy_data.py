"""An imitation of DISFA, small and with its quirks, to try the preparation on."""

from __future__ import annotations

from pathlib import Path

from tfds_builders import dummy_faces
from tfds_builders.disfa.layout import UNITS

FRAMES = {"SN001": 6, "SN002": 5, "SN003": 4}
"""Coded frames of each subject."""


def level(subject: int, unit: int, frame: int) -> int:
    """Says what the label files hold: any intensity from 0 to 5."""
    return (subject + unit * frame) % 6


def write(folder: Path) -> None:
    """Writes three subjects of DISFA.

    As in the real set, a video is shorter than its labels (SN002), files end in capitals (SN003),
    and a Mac has left its traces. One label file has CRLF line ends, and SN003 has one frame more
    in the video than in the labels.
    """
    for place, (subject, count) in enumerate(FRAMES.items()):
        labels = folder / "ActionUnit_Labels" / subject
        labels.mkdir(parents=True)
        (labels / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
        for unit in UNITS["intensity"]:
            end = "\r\n" if (subject, unit) == ("SN001", 4) else "\n"
            text = "".join(f"{n},{level(place, unit, n)}{end}" for n in range(1, count + 1))
            (labels / f"{subject}_au{unit}.txt").write_bytes(text.encode())
    videos = folder / "Videos_LeftCamera"
    dummy_faces.write_video(videos / "LeftVideoSN001_comp.avi", 0, FRAMES["SN001"])
    dummy_faces.write_video(videos / "LeftVideoSN002_comp.avi", 1, FRAMES["SN002"] - 1)
    dummy_faces.write_video(videos / "LeftVideoSN003_Comp.AVI", 2, FRAMES["SN003"] + 1)
    (videos / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
