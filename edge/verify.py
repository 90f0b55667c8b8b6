"""`python -m edge.verify MODEL.tflite`: proves that a file answers here as where it was made."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edge.runtime import AUModel, find_runtime
from tfau.core import BundleError
from tfau.core.errors import run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Tests a file; the status is 1 where it answers otherwise."""
    parser = argparse.ArgumentParser(prog="python -m edge.verify", description=__doc__)
    parser.add_argument("model", type=Path, help="a .tflite made by `python -m export`")
    parser.add_argument("--threads", type=int, default=1, help="threads to run it with (1)")
    args = parser.parse_args(argv)
    if args.threads < 1:
        raise ValueError(f"`--threads` must be at least 1. Received: {args.threads}.")

    model = AUModel(args.model, threads=args.threads)
    bundle = model.bundle
    package, _ = find_runtime()
    print(f"{package} {_version(package)} on {platform.machine()}, {platform.system()}")
    print(f"checksum of the graph: {bundle.graph_sha256}, as written")
    print(f"ends of the graph: as described; recipe {bundle.recipe}")
    passed = bundle.measured.get("passed")
    if passed is not True:
        says = "none are noted" if passed is None else "FAILED, by its own account"
        print(f"checks of its export: {says}")
    if bundle.golden is None:
        print("self-test: the file has none, so its answers were not looked at")
        return 0
    try:
        difference = model.self_test()
    except BundleError as error:
        print(f"self-test: FAILED. {error}")
        return 1
    tolerance = bundle.golden.tolerance
    # Written so that a NaN fails.
    if not difference <= tolerance:
        print(
            f"self-test: FAILED. The answer differs by {difference:.2g} intensity units, and "
            f"{tolerance:.2g} is allowed for {bundle.recipe}."
        )
        return 1
    print(f"self-test: passed, {difference:.2g} apart; {tolerance:.2g} is allowed")
    return 0


def _version(package: str) -> str:
    try:
        return version(package.replace("_", "-"))
    except PackageNotFoundError:
        return "(version unknown)"


if __name__ == "__main__":
    sys.exit(run_cli(main))
