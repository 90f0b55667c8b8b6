"""Puts the page together: our modules, the tables they share with Python, the runtime, a model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import tfau
from edge import geometry
from edge.annotators import color_of
from edge.arguments import FREE_MODEL
from edge.face_mesh import MODELS
from edge.outlines import LOOPS
from edge.web import vendor
from tfau.core import BundleError, EdgeBundle
from tfau.core.action_units import ACTION_UNITS
from tfau.core.align import ORIGIN, STABLE_VERTICES, TEMPLATE, UNIT
from tfau.core.expressions import FINE, SHOWN
from tfau.core.faces import AU_LANDMARKS, MESH_TO_68
from tfau.core.files import whole_folder
from tfau.core.signals import EYES

PAGE = Path(__file__).parent / "page"

_LARGE = 2**18  # bytes; beyond it a file is kept by the browser when it is asked for, not before
_STAMP = "files.js"


def tables() -> dict[str, Any]:
    """Returns what the page's modules share with Python: faces, units and expressions."""
    return {
        "VERSION": tfau.__version__,
        "STABLE": {
            "origin": ORIGIN,
            "unit": UNIT,
            "vertices": STABLE_VERTICES.tolist(),
            "template": TEMPLATE.tolist(),
        },
        "HEAD": {
            "vertices": list(geometry.HEAD),
            "points": list(geometry.HEAD.values()),
            "eye_distance_mm": geometry.EYE_DISTANCE_MM,
        },
        "EYES": list(EYES.values()),
        "UNITS": {
            number: {
                "name": unit.name,
                "points": {
                    name: [int(MESH_TO_68[landmark]) for landmark in AU_LANDMARKS[name]]
                    for name in unit.points
                },
            }
            for number, unit in ACTION_UNITS.items()
        },
        "EXPRESSIONS": [
            {
                "name": expression.name,
                "code": list(expression.code.items()),
                "lowered_by": list(expression.lowered_by.items()),
                "alone": expression.alone,
            }
            for expression in FINE.of(*SHOWN)
        ],
        "OUTLINES": LOOPS,
        "COLORS": [f"rgb({', '.join(map(str, color_of(track)))})" for track in range(6)],
    }


def site_files(model: Path = FREE_MODEL, cache: Path | None = None) -> dict[str, bytes]:
    """Returns every file of the site by its place in it.

    Args:
        model: The `.tflite` that the page runs.
        cache: Folder of fetched packages; the user's own if None.

    Raises:
        BundleError: If the model cannot be used in a page.
        MissingExtra: If the runtime must be fetched and there is no npm.
        OSError: If it cannot be fetched.
    """
    bundle = EdgeBundle.read(model)
    if bundle.batch != 1:
        raise BundleError(
            f"{model} takes {bundle.batch} crops at once, and the page gives it one; export it "
            "without `--batch`."
        )
    files = {path.name: path.read_bytes() for path in sorted(PAGE.iterdir()) if path.is_file()}
    lines = [f"export const {name} = {json.dumps(value)};\n" for name, value in tables().items()]
    files["tables.js"] = (
        "// Made by edge/web/site.py from Python's tables.\n" + "".join(lines)
    ).encode()
    for place, content in vendor.runtime_files(cache or vendor.default_cache()).items():
        files[f"vendor/litert/{place}"] = content
    licence = (MODELS.parent / "LICENSE").read_bytes()
    files["vendor/LICENSE"] = files["models/LICENSE"] = licence
    files["vendor/NOTICE"] = _notice().encode()
    files[f"models/{MODELS.name}"] = MODELS.read_bytes()
    files["models/model.tflite"] = Path(model).read_bytes()
    files["models/model.json"] = (json.dumps(bundle.describe(), indent=1) + "\n").encode()
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    first = ["./", *(name for name, content in files.items() if len(content) < _LARGE)]
    later = [name for name, content in files.items() if len(content) >= _LARGE]
    known = {"VERSION": digest.hexdigest()[:16], "FIRST": first, "LATER": later}
    stamp = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in known.items())
    files[_STAMP] = stamp.encode()
    return files


def write_site(folder: Path, files: dict[str, bytes]) -> None:
    """Writes a site, all or nothing; one that is there already is replaced.

    Raises:
        ValueError: If the folder holds something else.
        OSError: If it cannot be written.
    """
    is_ours = (folder / _STAMP).is_file()
    if folder.exists() and not is_ours and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"`--export` must name a new folder, or one it made. Received: {folder}.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(folder) as unfinished:
        for name, content in files.items():
            path = unfinished / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _notice() -> str:
    parts = [
        f"{name} {locked['version']}, {locked['licence']}" for name, locked in vendor.LOCK.items()
    ]
    return (
        "vendor/litert holds files of these npm packages by Google LLC, unchanged but for one "
        "import that names its file:\n"
        + "".join(f"  {part}\n" for part in parts)
        + "models/face_landmarker.task holds MediaPipe's face models by Google LLC, Apache-2.0.\n"
    )
