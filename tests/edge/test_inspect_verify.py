"""What a model file says of itself, and whether it answers here as where it was made."""

import json
from dataclasses import replace

import numpy as np
import pytest

from edge import inspect, verify
from edge.runtime import AUModel
from tfau.core import EdgeBundle, Golden
from tfau.core.errors import run_cli


@pytest.fixture
def bundle_and_graph(model_path):
    bundle, graph = EdgeBundle.open(model_path)
    image = np.full((64, 64, 3), 102, np.uint8)
    answer = AUModel(model_path)(image[None])["heatmaps"][0, ::4, ::4]
    scores = {"AU12": 0.5, "AU25": None, "mean": 0.5}
    bundle = replace(
        bundle,
        kept=("stem_relu",),
        calibration={"source": "faces", "crops": 12},
        provenance={"licence": "CC0", "network": {"backbone": "tiny"}},
        measured={"passed": True, "crops": 60, "icc": scores, "mae": scores},
        golden=Golden(image, answer, 4, 1e-4),
    )
    return bundle, graph


def written(folder, bundle, graph):
    return bundle.write(folder / "m.tflite", graph)


def said(capsys, module, *words):
    """Runs a command; returns its status, and what it printed."""
    capsys.readouterr()
    status = run_cli(lambda _: module.main([str(word) for word in words]))
    out, error = capsys.readouterr()
    return status, out, error


def test_inspect_tells_everything(tmp_path, bundle_and_graph, capsys):
    path = written(tmp_path, *bundle_and_graph)
    status, out, _ = said(capsys, inspect, path)
    assert status == 0
    for words in (
        f"m.tflite, {path.stat().st_size / 1e6:.2f} MB",
        "from a crop of 64 px to intensities, 0 to 5, of 2 units",
        "  AU12  ",
        "in float32 all the same: stem_relu",
        "self-test: within 0.0001",
        "  licence: CC0",
        "  network:\n    backbone: tiny",
        "  source: faces",
        "  crops: 60",
        "unit  icc  mae\nAU12  0.500  0.500\nAU25    -    -\nmean  0.500  0.500",
    ):
        assert words in out, words
    assert "FAILED" not in out


def test_inspect_says_that_a_file_failed(tmp_path, bundle_and_graph, capsys):
    bundle, graph = bundle_and_graph
    path = written(tmp_path, replace(bundle, measured={"passed": False}, golden=None), graph)
    _, out, _ = said(capsys, inspect, path)
    assert "FAILED the checks of its export" in out
    assert "self-test: none" in out


def test_inspect_prints_the_json_inside(tmp_path, bundle_and_graph, capsys):
    bundle, graph = bundle_and_graph
    path = written(tmp_path, bundle, graph)
    _, out, _ = said(capsys, inspect, path, "--json")
    assert out == bundle.to_json(graph)
    assert json.loads(out)["format"] == 3


def test_a_stranger_cannot_write_on_the_terminal(tmp_path, bundle_and_graph, capsys):
    bundle, graph = bundle_and_graph
    evil = {"licence": "\x1b[2Jfree\r\n", "\x1b[31mnew\n": ["\x07"]}
    path = written(tmp_path, replace(bundle, provenance=evil, measured=evil), graph)
    _, out, _ = said(capsys, inspect, path)
    assert out.replace("\n", "").isprintable()


def test_verify_passes_what_answers_as_it_did(tmp_path, bundle_and_graph, capsys):
    path = written(tmp_path, *bundle_and_graph)
    status, out, _ = said(capsys, verify, path, "--threads", 2)
    assert status == 0
    assert "self-test: passed, 0 apart; 0.0001 is allowed" in out


@pytest.mark.parametrize("off", [0.01, np.inf])
def test_verify_sees_another_answer(tmp_path, bundle_and_graph, capsys, off):
    bundle, graph = bundle_and_graph
    answer = bundle.golden.answer.copy()
    answer[0, 0, 0] += min(off, 1e30)
    golden = replace(bundle.golden, answer=answer)
    path = written(tmp_path, replace(bundle, golden=golden), graph)
    status, out, _ = said(capsys, verify, path)
    assert status == 1
    assert "self-test: FAILED. The answer differs by" in out


def test_verify_sees_a_graph_that_remembers(tmp_path, bundle_and_graph, capsys, monkeypatch):
    path, answers = written(tmp_path, *bundle_and_graph), iter((0.0, 1e-6))
    call = AUModel.__call__

    def other(model, crops, *_):
        return {"heatmaps": call(model, crops)["heatmaps"] + np.float32(next(answers))}

    monkeypatch.setattr(AUModel, "__call__", other)
    status, out, _ = said(capsys, verify, path)
    assert status == 1
    assert "FAILED. The graph answers the same crop differently the second time." in out


@pytest.mark.parametrize(
    ("measured", "word"),
    [({"passed": False}, "FAILED, by its own account"), ({}, "none are noted")],
)
def test_verify_says_what_it_could_not_look_at(tmp_path, bundle_and_graph, capsys, measured, word):
    bundle, graph = bundle_and_graph
    path = written(tmp_path, replace(bundle, golden=None, measured=measured), graph)
    status, out, _ = said(capsys, verify, path)
    assert status == 0
    assert "its answers were not looked at" in out
    assert f"checks of its export: {word}" in out


@pytest.mark.parametrize("module", [inspect, verify])
def test_a_file_that_is_none_of_ours(tmp_path, capsys, module):
    path = tmp_path / "m.tflite"
    for content in (None, b"", b"\0\0\0\0TFL3" + b"x" * 100):
        if content is not None:
            path.write_bytes(content)
        status, out, error = said(capsys, module, path)
        assert (status, out) == (2, "")
        assert error.startswith("tfau: ")
        assert error.count("\n") == 1


def test_threads_must_be_a_number_of_threads(tmp_path, capsys, bundle_and_graph):
    path = written(tmp_path, *bundle_and_graph)
    assert "`--threads` must be at least 1" in said(capsys, verify, path, "--threads", 0)[2]
