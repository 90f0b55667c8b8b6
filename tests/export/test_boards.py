"""An emulated Raspberry Pi answers as this machine does; `tests/arm/setup.sh` makes one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from export.__main__ import main

ROOT = Path(__file__).parents[2]
BOARD = os.environ.get("TFAU_ARM")  # the folder given to setup.sh


@pytest.fixture(scope="module")
def answers(run_folder, tmp_path_factory):
    """Asks this machine, and each board, the same."""
    out = tmp_path_factory.mktemp("out")
    main([str(run_folder), "-o", str(out)])
    (model,) = out.rglob("*_static_wi8_ai8.tflite")

    def ask(python, **environment):
        arguments = [ROOT / "tests/arm/answers.py", model, ROOT / "docs/astronaut.jpg"]
        result = subprocess.run(
            [python, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout.splitlines()[-1])

    here = ask(sys.executable, PYTHONPATH=str(ROOT))
    return here, lambda board: ask(f"{BOARD}/python", PI=board, EXTRA_PYTHONPATH=str(ROOT))


@pytest.mark.skipif(not BOARD, reason="needs TFAU_ARM, see tests/arm/setup.sh")
@pytest.mark.parametrize("board", ["4", "5"])
def test_a_board_answers_the_same(answers, board):
    here, ask = answers
    there = ask(board)
    assert there["self_test"] == here["self_test"] == 0
    assert there["maps"] == here["maps"]  # 8-bit graphs, bit for bit
    assert there["numbers"] == here["numbers"] == [0, 0, 0]
    assert np.abs(np.array(there["meshes"]) - here["meshes"]).max() < 0.01  # px
    assert there["row"].keys() == here["row"].keys()
    for name, value in here["row"].items():
        if name.startswith("pose_T"):
            assert float(there["row"][name]) == pytest.approx(float(value), abs=0.2), name
        elif name in ("reason", "file"):
            assert there["row"][name] == value
        elif value:
            assert float(there["row"][name]) == pytest.approx(float(value), abs=1.01e-3), name
