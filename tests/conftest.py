"""Chooses what can run here, says aloud what cannot, and fixes the seeds."""

import random
import signal
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from tfau.doctor import EXTRAS

# The same examples in every run; a busy machine is no failure.
settings.register_profile("tfau", derandomize=True, deadline=None)
settings.load_profile("tfau")

# A shell that runs us in the background has switched Ctrl-C off, and our children would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = Path(__file__).parent
EXTRA_OF = {
    "models": "train",
    "data": "train",
    "training": "train",
    "tfds_builders": "train",
    "export": "export",
}


def missing_extra(folder: str) -> str | None:
    """Returns the extra that the tests of a folder lack here."""
    extra = EXTRA_OF.get(folder)
    complete = extra is None or all(find_spec(name) for name in EXTRAS[extra])
    return None if complete else extra


def pytest_report_header() -> list[str]:
    """Names the folders that are left out, above everything else."""
    return [
        f"not run here: tests/{folder} (needs tfau[{extra}])"
        for folder in EXTRA_OF
        if (HERE / folder).is_dir() and (extra := missing_extra(folder))
    ]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out a folder whose extra is missing, unless it was asked for by name."""
    named = {Path(argument.partition("::")[0]).resolve() for argument in config.args}
    left_out = collection_path.parent == HERE and missing_extra(collection_path.name)
    return True if left_out and collection_path not in named else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts what trains networks first, so that no worker waits for another one at the end."""
    items.sort(key=lambda item: item.path.parent.name != "training")


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Keeps doctest from tests: it takes an import that fails for a missing extra, and hides it."""
    found = yield
    return [collector for collector in found if type(collector) is pytest.Module]


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Gives every test the same random numbers, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - for libraries that still draw from the global generator
