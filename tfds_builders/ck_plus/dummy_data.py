"""An imitation of CK+, small and with its quirks, to try the preparation on."""

from __future__ import annotations

from pathlib import Path

from tfds_builders import dummy_faces

PICTURES = {
    "S005_001": (1, 2, 3),
    "S005_002": (1, 2),
    "S010_001": (1, 2, 4),
    "S010_004": (1594215, 1594216),
    "S501_001": (1, 2),
}
"""Numbers of the pictures of each sequence; the last one shows the peak."""
FACS = {
    ("S005_001", 3): "   9.0000000e+00   4.0000000e+00\n   1.7000000e+01   2.0000000e+00\n",
    ("S010_001", 4): "   1.2000000e+01   0.0000000e+00\r\n   2.5000000e+01   5.0000000e+00\r\n",
    ("S010_004", 1594216): "   4.0000000e+00   3.0000000e+00\n   6.1000000e+01   0.0000000e+00\n",
    ("S501_001", 9): "   1.0000000e+00   3.0000000e+00\n",
}
"""Sequence and frame -> what its FACS file holds."""
EMOTIONS = {("S005_001", 3): 3, ("S010_004", 1594216): 1}
"""Sequence and frame -> emotion."""


def write(folder: Path) -> None:
    """Writes three subjects of CK+.

    S005_002 was not coded: its folder of labels is empty. S010_001 lacks a picture in the middle,
    and has upper-case suffixes, a unit without intensity, CRLF line ends and the owners' misprint
    S0010. S010_004 is numbered by time code and has a unit that is not among ours. The peak of
    S501_001 is missing. The labels lie in the folder that their zip makes, landmark files are
    missing, and a Mac has left its traces.
    """
    images = folder / "cohn-kanade-images"
    for place, (name, numbers) in enumerate(PICTURES.items()):
        suffix = ".PNG" if name == "S010_001" else ".png"
        for step, number in enumerate(numbers):
            picture = images.joinpath(*name.split("_"), f"{name}_{number:08d}{suffix}")
            dummy_faces.write_picture(picture, int(name[1:4]) % 9, 3 * place + step)
        (picture.parent / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
        folder.joinpath("FACS_labels", "FACS", *name.split("_")).mkdir(parents=True)
        folder.joinpath("Emotion", *name.split("_")).mkdir(parents=True)
    (images / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    for (name, frame), text in FACS.items():
        shown = f"S0{name[1:]}" if name == "S010_001" else name
        place_of = folder.joinpath("FACS_labels", "FACS", *name.split("_"))
        (place_of / f"{shown}_{frame:08d}_facs.txt").write_bytes(text.encode())
        (place_of / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    for (name, frame), emotion in EMOTIONS.items():
        file = folder.joinpath("Emotion", *name.split("_"), f"{name}_{frame:08d}_emotion.txt")
        file.write_text(f"   {emotion:.7e}\n")
    folder.joinpath("Emotion", "S501", "001").rmdir()
    landmarks = folder / "Landmarks" / "S005" / "001"
    landmarks.mkdir(parents=True)
    (landmarks / "S005_001_00000001_landmarks.txt").write_text("   1.0e+01   2.0e+01\n" * 68)
