"""What users rely on without reading code: light imports, commands that exist, licences, data."""

import ast
import hashlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tfau.cli import COMMANDS
from tfau.doctor import EXTRAS

ROOT = Path(__file__).parents[1]
IMPORTED_AS = {
    "paho-mqtt": "paho",
    "python-osc": "pythonosc",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
}
PACKAGES = ("tfau", "tfds_builders", "export", "edge")
SOURCES = sorted(path for folder in (*PACKAGES, "tests") for path in (ROOT / folder).rglob("*.py"))


def python(code: str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """Runs code in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, check=False
    )


def import_under(condition: str, modules: Iterable[str]) -> "subprocess.CompletedProcess[str]":
    """Imports modules where every top-level `name` for which the condition is false is missing."""
    return python(
        "import sys, importlib\n"
        "class Wall:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        name = name.partition('.')[0]\n"
        f"        if not ({condition}):\n"
        "            raise ModuleNotFoundError(f'blocked: {name}', name=name)\n"
        "sys.meta_path.insert(0, Wall())\n"
        f"for module in {list(modules)}: importlib.import_module(module)\n"
    )


def modules_of(package: str) -> list[str]:
    folder = ROOT.joinpath(*package.split("."))
    names = (path.relative_to(ROOT).with_suffix("").parts for path in sorted(folder.rglob("*.py")))
    return [".".join(part for part in parts if part != "__init__") for parts in names]


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def requirements() -> dict[str, list[Requirement]]:
    project = pyproject()["project"]
    groups = {"base": project["dependencies"], **project["optional-dependencies"]}
    return {name: [Requirement(line) for line in lines] for name, lines in groups.items()}


def test_core_needs_numpy_and_the_standard_library_only() -> None:
    done = import_under(
        "name in sys.stdlib_module_names or name in ('numpy', 'tfau')", modules_of("tfau.core")
    )
    assert done.returncode == 0, done.stderr


def test_front_door_opens_without_any_package_but_numpy() -> None:
    done = import_under(
        "name in sys.stdlib_module_names or name in ('numpy', 'tfau')", ["tfau.cli", "tfau.doctor"]
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_may_live_there(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
    assert path.stem not in {"utils", "helpers", "misc", "common"}


def test_readme_commands_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    modules = set(re.findall(r"python3? -m ([\w.]+)", readme))
    ours = {module for module in modules if module.partition(".")[0] in PACKAGES}
    assert "tfau.train" in ours
    assert [module for module in ours if not find_spec(module)] == []
    assert set(re.findall(r"^tfau (\w+)", readme, re.MULTILINE)) <= set(COMMANDS)
    extras = {name for group in re.findall(r"\[([\w,]+)\]'", readme) for name in group.split(",")}
    assert {"all", "dev"} <= extras <= set(requirements())


def test_doctor_knows_every_extra() -> None:
    declared = {
        extra: {IMPORTED_AS.get(line.name, line.name.replace("-", "_")) for line in lines}
        for extra, lines in requirements().items()
        if extra not in ("base", "all", "dev", "test")
    }
    assert {extra: set(names) for extra, names in EXTRAS.items()} == declared


def test_all_means_all() -> None:
    (everything,) = requirements()["all"]
    assert everything.extras == set(EXTRAS)


def test_constraints_fix_one_version_of_all_that_we_ask_for() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    versions = {name.lower().replace("_", "-"): Version(text) for name, text in pins.items()}
    asked = [one for group in requirements().values() for one in group if one.name != "tfau"]
    assert [str(one) for one in asked if versions[one.name] not in one.specifier] == []
    assert [name for name in versions if name.startswith("opencv-")] == ["opencv-contrib-python"]


def test_notice_names_what_is_shipped_and_its_checksum() -> None:
    entries = re.findall(
        r"^(\S+/\S+)$(?:\n  sha256 (\w+)$)?", (ROOT / "NOTICE").read_text(), re.MULTILINE
    )
    shipped = [
        path
        for folder in PACKAGES
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".task", ".tflite", ".npz", ".png", ".jpg"}
    ]
    assert shipped
    unnamed = [p for p in shipped if not any(p.match(pattern) for pattern, _ in entries)]
    assert unnamed == []
    for pattern, checksum in entries:
        files = list(ROOT.glob(pattern))
        assert files, pattern
        if checksum:
            assert [hashlib.sha256(file.read_bytes()).hexdigest() for file in files] == [checksum]


def test_licence_is_apache() -> None:
    licence = (ROOT / "LICENSE").read_text()
    assert "Apache License" in licence
    assert "APPENDIX: How to apply the Apache License to your work." in licence
    assert pyproject()["project"]["license"] == "Apache-2.0"


def test_installed_packages_carry_their_data(tmp_path: Path) -> None:
    found = python("import edge; print(edge.__path__[0])", cwd=tmp_path)
    if found.returncode:
        pytest.skip("tfau is not installed here")
    site = Path(found.stdout.strip()).parent
    data = [
        path.relative_to(ROOT)
        for package, patterns in pyproject()["tool"]["setuptools"]["package-data"].items()
        for pattern in patterns
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    ]
    assert data
    assert [path for path in data if not (site / path).is_file()] == []
