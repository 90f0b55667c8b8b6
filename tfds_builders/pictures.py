"""Which pictures lie in a folder or a zip, and which frames they show. None is opened."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from tfau.core.errors import DatasetError
from tfds_builders.recordings import files

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png")


def in_folder(folder: Path) -> list[str]:
    """Lists the pictures of a folder by name, `2.jpg` before `10.jpg`."""
    return [path.name for path in files(folder, *SUFFIXES)]


def in_zip(path: Path) -> list[str]:
    """Lists the pictures of a zip by their names in it, at any depth, in the order of the zip.

    Raises:
        DatasetError: If it is not a zip.
    """
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        raise DatasetError(f"{path} is damaged, or not a zip.") from None
    pictures = []
    for name in names:
        parts = PurePosixPath(name).parts
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
        if not hidden and name.lower().endswith(SUFFIXES):
            pictures.append(name)
    return pictures


def numbered(names: Iterable[str], where: Path, pattern: str = r"(\d{1,9})") -> dict[int, str]:
    """Finds out which frames pictures show: `0007.jpg`, `007.jpg` and `7.JPG` are all number 7.

    Args:
        names: Names of pictures, with or without folders.
        where: Where they are, for the error.
        pattern: What a name without folders and suffix looks like, in any case of letters; its
            group is the number. Names that look otherwise are left out.

    Returns:
        Number -> name, in the order of the numbers.

    Raises:
        DatasetError: If two pictures have the same number.
    """
    found: dict[int, str] = {}
    for name in names:
        match = re.fullmatch(pattern, PurePosixPath(name).stem, re.IGNORECASE | re.ASCII)
        if match is None:
            continue
        number = int(match[1])
        if number in found:
            raise DatasetError(f"{where} has two pictures {number}: {found[number]} and {name}.")
        found[number] = name
    return dict(sorted(found.items()))
