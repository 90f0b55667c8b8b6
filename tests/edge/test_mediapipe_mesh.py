"""The mediapipe package behind our interface, and how far the two are apart."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import edge
from edge.mediapipe_mesh import check_processor
from tfau.core import MissingExtra

ROOT = Path(edge.__file__).parents[1]
# A process of its own: with TensorFlow in sight the package would import it, which takes long.
COMPARE = """
import sys
for name in ("tensorflow", "jax", "keras"):
    sys.modules[name] = None
import json
import numpy as np
import skimage.data
from edge.face_mesh import FaceMesh
from edge.mediapipe_mesh import MediaPipeMesh
picture = skimage.data.astronaut()
frames = [np.ascontiguousarray(np.roll(picture, 6 * step, axis=1)[:400]) for step in range(10)]
answers = []
for follow in (False, True):
    # With two faces wanted the package neither smooths nor leaves the detector out.
    with MediaPipeMesh(max_faces=2, follow=follow, blendshapes=True) as theirs, FaceMesh(
        max_faces=2, refine=False, blendshapes=True
    ) as ours:
        for index, frame in enumerate(frames):
            (one,), (other,) = (mesh.detect(frame, index * 40.0) for mesh in (ours, theirs))
            off = np.linalg.norm(one.mesh[:, :2] - other.mesh[:, :2], axis=1).mean()
            shapes = np.abs(one.blendshapes - other.blendshapes).max()
            answers.append([float(off * 256 / np.ptp(other.mesh[:, 1])), float(shapes)])
print(json.dumps(answers))
"""


@pytest.mark.skipif(not find_spec("mediapipe"), reason="needs tfau[mediapipe]")
def test_both_front_ends_agree():
    result = subprocess.run(
        [sys.executable, "-c", COMPARE],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert result.returncode == 0, result.stderr
    answers = json.loads(result.stdout.splitlines()[-1])
    assert len(answers) == 20
    assert max(off for off, _ in answers) < 0.5  # px of a face of 256 px
    assert max(shapes for _, shapes in answers) < 0.05


def test_a_processor_on_which_it_would_abort(tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\n")
    with pytest.raises(MissingExtra, match="LSE atomics"):
        check_processor("aarch64", info)
    check_processor("x86_64", info)
    check_processor("aarch64", tmp_path / "none")
    info.write_text("Features\t: fp asimd evtstrm atomics cpuid\n")
    check_processor("aarch64", info)
