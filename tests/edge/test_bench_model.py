"""What a model costs on this machine: a table to paste."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from edge.arguments import FREE_MODEL
from edge.face_mesh import MODELS
from tfau.bench import __main__ as bench
from tfau.bench import model
from tfau.bench.machine import EnergyMeter, describe
from tfau.bench.model import NETWORK, Row, table
from tfau.bench.model_contender import LITERT, Task, natural_crops
from tfau.bench.operations import operations
from tfau.bench.turns import Result, contender
from tfau.core import EdgeBundle
from tfau.core.errors import run_cli


def said(capsys, *words):
    """Runs the command; returns its status, and what it printed."""
    capsys.readouterr()
    status = run_cli(lambda _: bench.main(["model", *map(str, words)]))
    return status, *capsys.readouterr()


def test_a_table_of_files_threads_and_kernels(model_path, capsys):
    words = "--threads", "1,2", "--rounds", "2", "--no-xnnpack", "--profile"
    status, out, _ = said(capsys, model_path, *words)
    assert status == 0
    rows = [line.split(" | ") for line in out.splitlines() if line.startswith("| fixed")]
    assert [(row[1], row[2]) for row in rows] == [
        ("1", "on"),
        ("1", "off"),
        ("2", "on"),
        ("2", "off"),
    ]
    for row in rows:
        assert 0 < float(row[3].split()[0]) < 1000
        assert 10 < float(row[5]) < 2000
    assert "cores; " in out
    assert "litert" in out
    assert "### The slowest operations of fixed_bumps.tflite" in out


def test_a_network_that_takes_more_than_a_crop_is_timed_too(capsys):
    status, out, _ = said(capsys, FREE_MODEL, "--rounds", "1")
    assert status == 0
    (row,) = (line.split(" | ") for line in out.splitlines() if line.startswith("| tfau_free"))
    assert 0 < float(row[3].split()[0]) < 1000


def test_ratios_are_of_the_same_round_and_batches_are_shared_out():
    rows = [Row(name, Task(LITERT, threads=n)) for n, name in enumerate(("one", "two"), 1)]
    facts = {"batch": 4, "runtime": "none 1"}
    one = Result(rows[0], (1.0, 2.0, 8.0), 1e8, facts, (4.0, 8.0, 4.0))
    two = Result(rows[1], (2.0, 1.0, 16.0), 2e8, facts, (1.0, 1.0, 1.0))
    lines = table([one, two]).markdown().splitlines()
    assert lines[-1] == (
        "| two | 2 | on | 500.000 (250.000 to 4000.000) | 2.00 (0.50 to 2.00) | 200 | - | 0.250 |"
    )
    assert "J per crop" not in table([one, replace(two, joules=())]).markdown()


def test_operations_by_themselves_are_those_of_the_graph(model_path):
    from edge.runtime import Graph

    _, graph = EdgeBundle.open(model_path)
    names = []
    for name, single in operations(graph):
        made = Graph(single)
        answer = made(**{end: np.ones(shape, np.float32) for end, shape in made.inputs.items()})
        assert len(answer) == 1
        names.append(name)
    assert names
    assert names[-1].endswith("1x16x16x4 float32")


def test_crops_look_like_photos():
    crops = natural_crops(2, 96)
    assert crops.shape == (2, 96, 96, 3)
    assert crops.dtype == np.float32
    assert 0 <= crops.min() < 60
    assert 200 < crops.max() <= 255
    assert np.array_equal(crops, natural_crops(2, 96))
    near = np.abs(np.diff(crops, axis=1)).mean()
    assert near < np.abs(crops[:, 48:] - crops[:, :48]).mean()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--threads", "0"], "`threads` must be numbers from 1 on"),
        (["--threads", "two"], "`threads` must be numbers from 1 on"),
        (["--rounds", "0"], "`rounds` must be at least 1"),
        (["--against", "tensorrt"], "no contender 'tensorrt'"),
    ],
)
def test_bad_words(model_path, capsys, words, sentence):
    status, out, error = said(capsys, model_path, *words)
    assert (status, out) == (2, "")
    assert sentence in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["none.tflite", "none.onnx", MODELS])
def test_files_that_cannot_be_run(capsys, name):
    status, out, error = said(capsys, name)
    assert (status, out) == (2, "")
    assert error.count("\n") == 1


def test_what_is_missing_is_said_below(model_path, capsys, monkeypatch):
    monkeypatch.setattr(model.importlib.util, "find_spec", lambda _name: None)
    words = model_path, "--rounds", "1", "--against", "torch,onnxruntime"
    status, out, _ = said(capsys, *words)
    assert status == 0
    assert "torch is missing: torch is not installed." in out
    assert "onnxruntime is missing: onnxruntime is not installed." in out


def test_pytorch_runs_only_against_its_own_network(model_path, monkeypatch, tmp_path):
    monkeypatch.setattr(model.importlib.util, "find_spec", lambda _name: object())
    bundle = EdgeBundle.read(model_path)
    with pytest.raises(LookupError, match="no file says that it is this network"):
        model._opponents("torch", [model_path], {model_path: bundle}, [1], 1, tmp_path)
    bundle = replace(bundle, provenance={"network": {**NETWORK, "kind": "heatmap"}})
    (row, other) = model._opponents(
        "torch", [model_path], {model_path: bundle}, [1, 2], 3, tmp_path
    )
    assert (row.task.batch, row.task.crop_size, row.task.points) == (3, 64, 4)
    assert (row.task.threads, other.task.threads) == (1, 2)


def test_the_onnx_of_the_same_run_is_found(model_path, tmp_path):
    bundle, graph = EdgeBundle.open(model_path)
    path = bundle.write(tmp_path / f"run_{bundle.recipe}.tflite", graph)
    with pytest.raises(LookupError, match=r"there is no .*run\.onnx; `tfau export` makes one"):
        model._onnx_beside([path], {path: bundle})
    (tmp_path / "run.onnx").touch()
    assert model._onnx_beside([path], {path: bundle}) == tmp_path / "run.onnx"


def test_a_contender_that_cannot_run_says_why(tmp_path):
    task = asdict(Task(LITERT, str(tmp_path / "none.tflite")))
    with (
        pytest.raises(LookupError, match="There is no model file"),
        contender("tfau.bench.model_contender", task),
    ):
        pass


def test_energy_is_counted_where_the_machine_shows_it(tmp_path):
    assert EnergyMeter(tmp_path).why_not == "this machine does not show its energy"
    for name, before in (("intel-rapl:0", 900), ("intel-rapl:0:0", 1), ("intel-rapl:1", 50)):
        zone = tmp_path / name
        zone.mkdir()
        (zone / "energy_uj").write_text(f"{before}\n")
        (zone / "max_energy_range_uj").write_text("1000\n")
    meter = EnergyMeter(tmp_path)
    assert meter.why_not == ""
    before = meter.read()
    assert before == (900, 50)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("100\n")  # it began again
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("60\n")
    assert meter.joules_since(before) == pytest.approx(210e-6)


def test_a_board_is_called_by_its_name(tmp_path):
    board = tmp_path / "proc" / "device-tree"
    board.mkdir(parents=True)
    (board / "model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    assert describe(tmp_path).startswith("Raspberry Pi 5 Model B Rev 1.0, ")
    assert json.dumps(describe())
