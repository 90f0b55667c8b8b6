"""Prints what the edge answers here, as JSON: `answers.py MODEL PICTURE`."""

import csv
import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

import edge.video
from edge.analyzer import FaceAnalyzer
from edge.face_mesh import FaceMesh
from edge.runtime import AUModel
from edge.sources import read_image
from edge.tracks import Tracker


def main(model_path: str, picture_path: str) -> None:
    """Asks model, mesh, tracker and the command for a photo."""
    model, picture = AUModel(model_path), read_image(Path(picture_path))
    side = model.bundle.crop_size
    crops = np.random.default_rng(0).integers(0, 256, (4, side, side, 3), dtype=np.uint8)
    maps = model(crops)["heatmaps"]
    tracker, meshes, numbers = Tracker(), [], []
    with FaceMesh(follow=True, max_faces=2) as mesh:
        analyzer = FaceAnalyzer(model, mesh)
        for step in range(3):
            moved = np.ascontiguousarray(picture[:, 4 * step : 4 * step + 440])
            faces = tracker.update(mesh.detect(moved, step * 40.0), step * 40.0)
            (reading,) = analyzer.read(moved, faces)
            meshes.append(reading.face.mesh[::20].tolist())
            numbers.append(reading.face.track_id)
    with tempfile.TemporaryDirectory() as folder:
        edge.video.main([picture_path, "--model", model_path, "-o", folder, "--no-pictures"])
        with next(Path(folder).glob("*.csv")).open(newline="") as stream:
            (row,) = csv.DictReader(stream)
    answers = {
        "self_test": model.self_test(),
        "maps": hashlib.sha256(maps.tobytes()).hexdigest(),
        "meshes": meshes,
        "numbers": numbers,
        "row": row,
    }
    print(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
