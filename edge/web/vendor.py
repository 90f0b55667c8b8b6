"""Fetches the browser's TFLite runtime: pinned npm packages, checked against their hashes."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sysconfig
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from tfau.core.errors import MissingExtra
from tfau.core.files import whole_file

LOCK: dict[str, Any] = json.loads(Path(__file__).with_name("vendor.lock.json").read_text())
"""For each package its version, its hash as npm writes it, its licence and what is taken."""

_ALIASES = {b'"@litertjs/wasm-utils"': b'"./wasm_utils.js"'}
"""A page without a bundler finds modules by their place: the one bare name is replaced."""


def default_cache() -> Path:
    """Returns the folder where packages are kept: `TFAU_CACHE`, or the user's own cache."""
    base = os.getenv("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.getenv("TFAU_CACHE") or Path(base, "tfau")) / "npm"


def runtime_files(cache: Path) -> dict[str, bytes]:
    """Returns the files of LiteRT.js by their place under `vendor/litert/`.

    Args:
        cache: Folder of the packages; one that is not there, or damaged, is fetched by npm.

    Raises:
        MissingExtra: If a package must be fetched and there is no npm.
        OSError: If npm cannot fetch it.
        ValueError: If what npm fetched is not what the lock file names.
    """
    files: dict[str, bytes] = {}
    for name, locked in LOCK.items():
        with tarfile.open(fileobj=io.BytesIO(_package(name, locked, cache))) as archive:
            for member, place in locked["files"].items():
                stream = archive.extractfile(f"package/{member}")
                if stream is None:  # the hash is right, so this is the lock file's fault
                    raise ValueError(f"{name} {locked['version']} has no file {member}.")
                files[place] = stream.read()
    for bare, place_of in _ALIASES.items():
        files["index.js"] = files["index.js"].replace(bare, place_of)
    return files


def _package(name: str, locked: dict[str, Any], cache: Path) -> bytes:
    path = cache / f"{name.strip('@').replace('/', '-')}-{locked['version']}.tgz"
    content = path.read_bytes() if path.is_file() else b""
    if integrity(content) == locked["integrity"]:
        return content
    content = _fetch(f"{name}@{locked['version']}")
    if integrity(content) != locked["integrity"]:
        raise ValueError(
            f"npm's {name} {locked['version']} is not the one that tfau was tested with: its hash "
            f"is {integrity(content)}, and vendor.lock.json names {locked['integrity']}."
        )
    cache.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as unfinished:
        unfinished.write_bytes(content)
    return content


def integrity(content: bytes) -> str:
    """Returns the hash of a package as npm writes it."""
    return f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}"


def _fetch(package: str) -> bytes:
    """Downloads a package with npm, which knows the user's registry, proxy and certificates."""
    npm = shutil.which("npm") or shutil.which("npm", path=sysconfig.get_path("scripts"))
    if npm is None:
        raise MissingExtra(
            "npm is needed once, to fetch the browser's runtime: `pip install 'tfau[web]'` or "
            "nodejs.org bring it."
        )
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", package, "--pack-destination", folder, "--loglevel", "error"]
        # In a folder of its own: a package.json around would have its say.
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
        packed = list(Path(folder).glob("*.tgz"))
        if done.returncode or len(packed) != 1:
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            why = lines[0].removeprefix("npm error ") if lines else "it gave no reason"
            raise OSError(
                f"npm cannot fetch {package} ({why}). The first start needs a network; after it "
                "none is needed."
            )
        return packed[0].read_bytes()
