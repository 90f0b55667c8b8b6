"""What machine this is, and the energy that it takes where it says so."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path


def cores() -> int:
    """Counts the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def graphics_card() -> str:
    """Names the graphics card; nothing where there is none."""
    if not (tool := shutil.which("nvidia-smi")):
        return ""
    asked = [tool, "--query-gpu=name", "--format=csv,noheader"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def describe(root: Path = Path("/")) -> str:
    """Says in a line what this machine is: its name, cores, operating system and Python.

    Args:
        root: Where `/proc` is.
    """
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (KeyError, OSError):
        system = platform.system()
    return (
        f"{_name(root)}, {cores()} cores; {system}, {platform.system()} {platform.release()} "
        f"{platform.machine()}; Python {platform.python_version()}"
    )


def _name(root: Path) -> str:
    """Names a board, or else a processor."""
    board = root / "proc/device-tree/model"
    if board.is_file():
        return board.read_text(errors="replace").strip("\0\n ")
    processors = root / "proc/cpuinfo"
    lines = processors.read_text().splitlines() if processors.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


class EnergyMeter:
    """Reads the counters that a processor has of its own energy (RAPL, by Linux's powercap).

    They count all that the processor does, not this process alone.

    Args:
        folder: Where Linux shows them.

    Attributes:
        why_not: Why there is nothing to read; empty if there is.
    """

    def __init__(self, folder: Path = Path("/sys/class/powercap")) -> None:
        # `intel-rapl:0` is a processor, `intel-rapl:0:0` a part of it. AMD's are called so too.
        zones = [zone for zone in sorted(folder.glob("intel-rapl:*")) if zone.name.count(":") == 1]
        readable = [zone for zone in zones if os.access(zone / "energy_uj", os.R_OK)]
        self._counters = [zone / "energy_uj" for zone in readable]
        self._ranges = [_number(zone / "max_energy_range_uj") for zone in readable]
        self.why_not = ""
        if not zones:
            self.why_not = "this machine does not show its energy"
        elif not readable:
            self.why_not = "only root may read the energy of this machine"

    def read(self) -> tuple[int, ...]:
        """Reads the counters, microjoules; empty where there are none."""
        return tuple(_number(counter) for counter in self._counters)

    def joules_since(self, before: Sequence[int]) -> float:
        """Says what was spent since a reading; a counter that has reached its end starts again."""
        return 1e-6 * sum(
            after - earlier + (most if after < earlier else 0)
            for earlier, after, most in zip(before, self.read(), self._ranges, strict=True)
        )


def _number(path: Path) -> int:
    return int(path.read_text())
