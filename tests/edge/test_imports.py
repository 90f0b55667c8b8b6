"""The edge is small: what it imports, and how long that takes."""

import json
import subprocess
import sys
from pathlib import Path

import edge

ROOT = Path(edge.__file__).parents[1]
DRAWING = ["diagrams", "report", "story"]  # what `tfau analyze` alone needs, with matplotlib
FORBIDDEN = ["jax", "keras", "mediapipe", "tensorflow", "tensorflow_datasets", "torch"]

EVERYTHING = """
import importlib, json, pkgutil, sys, time

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} must not be imported")

sys.meta_path.insert(0, Blocked())
start = time.perf_counter()
import edge
for module in pkgutil.iter_modules(edge.__path__):
    if module.name not in DRAWING:
        importlib.import_module(f"edge.{module.name}")
seconds = time.perf_counter() - start
import numpy as np
from edge.face_mesh import FaceMesh
with FaceMesh() as mesh:
    assert mesh.detect(np.zeros((90, 160, 3), np.uint8)) == []
print(json.dumps([seconds, sorted(sys.modules)]))
"""


def test_everything_works_without_a_training_framework():
    """Also where they are installed: they are blocked, and `av` with them."""
    program = f"BLOCKED = {[*FORBIDDEN, 'av', 'matplotlib']}\n{DRAWING = }\n{EVERYTHING}"
    runs = []
    for _ in range(3):  # the first may read from a cold disk
        result = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
        )
        assert result.returncode == 0, result.stderr
        seconds, modules = json.loads(result.stdout)
        assert not {name.partition(".")[0] for name in modules} & {*FORBIDDEN, "av"}
        runs.append(seconds)
    assert min(runs) < 1.0
