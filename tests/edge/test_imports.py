"""The edge is small: what it imports."""

import json
import subprocess
import sys
from pathlib import Path

import edge

ROOT = Path(edge.__file__).parents[1]
DRAWING = ["diagrams", "report", "story"]  # what `tfau analyze` alone needs, with matplotlib
FORBIDDEN = ["jax", "keras", "mediapipe", "tensorflow", "tensorflow_datasets", "torch"]

EVERYTHING = """
import importlib, json, pkgutil, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} must not be imported")

sys.meta_path.insert(0, Blocked())
import edge
for module in pkgutil.iter_modules(edge.__path__):
    if module.name not in DRAWING:
        importlib.import_module(f"edge.{module.name}")
import numpy as np
from edge.face_mesh import FaceMesh
with FaceMesh() as mesh:
    assert mesh.detect(np.zeros((90, 160, 3), np.uint8)) == []
print(json.dumps(sorted(sys.modules)))
"""


def test_everything_works_without_a_training_framework():
    """Also where they are installed: they are blocked, and `av` with them."""
    program = f"BLOCKED = {[*FORBIDDEN, 'av', 'matplotlib']}\n{DRAWING = }\n{EVERYTHING}"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert result.returncode == 0, result.stderr
    assert not {name.partition(".")[0] for name in json.loads(result.stdout)} & {*FORBIDDEN, "av"}
