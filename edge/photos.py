"""Sets of photos: an overlay of each unit, and a plot across all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge.analyzer import FaceAnalyzer
from edge.annotators import HeatmapAnnotator
from edge.face_mesh import FaceMesh
from edge.runtime import AUModel
from edge.sinks import ImageSink
from edge.sources import ImageSource
from edge.tables import read_faces
from tfau.core import AUReading
from tfau.core.files import whole_file

Image = npt.NDArray[np.uint8]


def study_photos(
    source: ImageSource, folder: Path, settings: Mapping[str, Any], model: AUModel
) -> None:
    """Writes the plot across photos, and an overlay of each unit of each photo.

    Args:
        source: The photos.
        folder: Where it goes; `aus.csv` is there.
        settings: Of the command line, for the sidecar.
        model: The network.
    """
    from edge import diagrams

    _, faces = read_faces(folder / "aus.csv")
    names = [path.name for path in source.paths]
    if faces:
        with whole_file(folder / "across_photos.png") as path:
            diagrams.over_photos(faces, names).savefig(path, format="png", dpi=120)
        with whole_file(folder / "across_photos.svg") as path:
            diagrams.over_photos(faces, names).savefig(path, format="svg")
    overlays = folder / "overlays"
    overlays.mkdir(exist_ok=True)
    with FaceMesh(max_faces=1) as mesh:
        analyzer = FaceAnalyzer(model, mesh)
        for frame in ImageSource(source.paths, source.stem):
            readings = analyzer.analyze(frame.image)
            if readings:
                with ImageSink(overlays / f"{Path(frame.name).stem}.png") as file:
                    file.append(unit_sheet(frame.image, readings[0]))
    sidecar = folder / "aus.json"
    content = json.loads(sidecar.read_text())
    content["analysis"] = {k: str(v) if isinstance(v, Path) else v for k, v in settings.items()}
    with whole_file(sidecar) as path:
        path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"{len(names)} photos: {folder}")


def unit_sheet(image: Image, reading: AUReading, side: int = 180) -> Image:
    """Draws the face of a reading once for each unit, with that unit's heat alone.

    Args:
        image: (H, W, 3) RGB.
        reading: Of one face.
        side: Of a picture of the sheet, px.

    Returns:
        The sheet, RGB: strongest unit first.
    """
    if reading.face is None:
        raise ValueError("`reading` must be of a face.")
    points = reading.face.mesh[:, :2]
    low, high = points.min(axis=0), points.max(axis=0)
    scale = side / (1.3 * float((high - low).max()))
    matrix = np.array([[scale, 0.0, 0.0], [0.0, scale, 0.0]])
    matrix[:, 2] = side / 2 - scale * (low + high) / 2
    cells = []
    heat = HeatmapAnnotator()
    levels = np.nan_to_num(reading.intensities, nan=-1.0)
    for unit in np.argsort(-levels, kind="stable"):
        if levels[unit] < 0:
            continue
        hot = heat.annotate(image, [_only(reading, int(unit))])
        cell = cv2.warpAffine(hot, matrix, (side, side), flags=cv2.INTER_AREA)
        words = f"{reading.aus.names[unit]}  {levels[unit]:.1f}"
        cv2.rectangle(cell, (0, side - 22), (side, side), (17, 21, 27), -1)
        font = cv2.FONT_HERSHEY_DUPLEX
        cv2.putText(cell, words, (6, side - 7), font, 0.45, (232, 236, 241), 1, cv2.LINE_AA)
        cells.append(np.asarray(cell, np.uint8))
    across = max(1, int(np.ceil(np.sqrt(1.6 * len(cells)))))
    cells += [np.full((side, side, 3), 17, np.uint8)] * (-len(cells) % across)
    rows = [np.hstack(cells[i : i + across]) for i in range(0, len(cells), across)]
    return np.vstack(rows) if rows else np.asarray(image, np.uint8)


def _only(reading: AUReading, unit: int) -> AUReading:
    """Returns a reading in which only one unit has places and maps."""
    import dataclasses

    mine = reading.aus.point_owner == unit
    points = reading.points.copy()
    points[~mine, 2] = 0.0
    maps = reading.maps
    if maps is not None:
        maps = np.where(mine[: maps.shape[-1]], maps, np.float32(0))
    return dataclasses.replace(reading, points=points, maps=maps)
