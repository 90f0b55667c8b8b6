"""Runs side by side, from folders that hold what a run writes and nothing else."""

import csv
import dataclasses
import io
import json
import os
import subprocess
import sys

import pytest

from tfau import configs, runs
from tfau.core.errors import run_cli

SEEDS = {0: (0.70, 0.60), 1: (0.74, 0.64), 2: (0.72, 0.68)}  # ICC in validation and test


@pytest.fixture
def folder(tmp_path):
    """Six runs: three seeds, one without graphs, one of presence in two folds."""

    def made(name, history=(), scores="", finished=False, **settings):
        place = tmp_path / name
        place.mkdir(parents=True)
        tiny = configs.load("synthetic_tiny")
        config = dataclasses.replace(tiny, name=name.replace("/", "_"), **{"epochs": 3, **settings})
        (place / "config.json").write_text(config.to_json())
        rows = (json.dumps({"epoch": n, **row}) + "\n" for n, row in enumerate(history, start=1))
        (place / "metrics.jsonl").write_text("".join(rows))
        if finished:
            (place / "report.md").write_text("# Report\n")
        if scores:
            write_scores(place, scores)

    for seed, (validation, test) in SEEDS.items():
        history = [{"ICC": 0.1, "MAE": 0.5}, {"ICC": validation, "MAE": 0.4}, {"ICC": 0.2}]
        history = [row | {"seconds": 10.0 + n} for n, row in enumerate(history)]
        made(f"graph{seed}", history, intensity(test), finished=True, seed=seed)
    made("plain", [{"ICC": 0.9}], graph_levels=())
    presence = {"network": "presence", "protocol": "subjects_2"}
    for fold in (1, 2):
        history = [{"F1": float("nan")}, {"F1": 0.4}, {"F1": 0.4}]
        scores = ["Presence,,these predictions,mean,,,,.5,.4,.6"]
        made(f"seen/fold{fold}", history, scores, finished=True, fold=fold, **presence)
    write_scores(tmp_path / "seen", ["Presence,,these predictions,mean,,,,.45,.4,.5"])
    return tmp_path


def intensity(icc):
    """A mean row of intensity amid rows that must not be taken for it."""
    return [
        "Intensity,,these predictions,AU12,.1,0,0,,,",
        f"Intensity,,these predictions,mean,{icc},{icc - 0.1},{icc + 0.1},,,",
        "Intensity,,A paper,mean,.99,,,,,",
        "Intensity,men,these predictions,mean,.98,,,,,",
        "Presence,,these predictions,mean,,,,.97,.96,.98",
    ]


def write_scores(place, rows):
    header = "table,group,source,AU,ICC,ICC_low,ICC_high,F1,F1_low,F1_high"
    (place / "scores.csv").write_text("\n".join([header, *rows]) + "\n")


def by_name(found):
    return {run.name: run for run in found}


def test_what_became_of_each_run(folder):
    found, damaged = runs.find(folder)
    assert damaged == []
    known = by_name(found)
    first = known["graph0"]
    assert (first.state, first.done, first.epochs, first.best) == ("finished", 3, 3, 2)
    assert first.seconds == 11
    assert first.scores["val"] == pytest.approx((0.7, *[float("nan")] * 3), nan_ok=True)
    assert first.scores["ICC"][:3] == pytest.approx((0.6, 0.5, 0.7))
    assert "F1" not in first.scores
    plain = known["plain"]
    assert (plain.state, plain.done, plain.best) == ("running", 1, 1)
    seen = known["seen/fold1"]
    assert seen.best == 3  # the later of equals
    assert seen.scores["F1"][:3] == (0.5, 0.4, 0.6)


def test_all_folds_together_are_a_row(folder):
    together = by_name(runs.find(folder)[0])["seen"]
    assert together.settings["fold"] == "all"
    assert (together.state, together.done, together.epochs) == ("finished", 6, 6)
    assert together.scores["F1"][:3] == (0.45, 0.4, 0.5)


def test_the_best_come_first_and_what_is_not_tested_last(folder):
    names = [run.name for run in runs.find(folder)[0]]
    assert names == ["graph2", "graph1", "graph0", "seen/fold1", "seen/fold2", "seen", "plain"]


def test_a_run_that_is_silent_for_long_was_stopped(folder):
    for name in ("config.json", "metrics.jsonl"):
        os.utime(folder / "plain" / name, (0, 0))
    assert by_name(runs.find(folder)[0])["plain"].state == "stopped"


def test_only_what_differs_is_shown(folder):
    found = [run for run in runs.find(folder)[0] if "/" not in run.name and run.name != "seen"]
    assert runs.differing(found) == ["seed", "graph_levels"]
    assert runs.differing(found[:1]) == []
    header, *rows = runs.grid(found).rows
    assert header[-2:] == ["seed", "graph_levels"]
    assert rows[0][0] == "graph2"
    assert "0.680 [0.580, 0.780]" in rows[0]
    assert rows[-1][-2:] == ["0", "-"]


def test_seeds_are_averaged(folder):
    merged = runs.over_seeds(runs.find(folder)[0])
    assert len(merged) == 5
    graph = by_name(merged)["graph0"]
    assert graph.settings["seed"] == (0, 1, 2)
    assert graph.scores["ICC"].value == pytest.approx(0.64)
    assert graph.scores["ICC"].deviation == pytest.approx(0.04)
    assert "0.640 ± 0.040" in runs.grid(merged).rows[1]
    assert runs.grid([graph]).notes[-1] == "±: standard deviation over the seeds."
    assert runs.differing([graph]) == ["seed"]  # or nobody would know over how many


def test_one_seed_without_a_score_leaves_no_mean(folder):
    (folder / "graph1" / "scores.csv").unlink()
    graph = by_name(runs.over_seeds(runs.find(folder)[0]))["graph0"]
    assert set(graph.scores) == {"val"}


def test_the_csv_has_the_same_in_numbers(folder):
    rows = list(csv.DictReader(io.StringIO(runs.table(runs.find(folder)[0]))))
    best = next(row for row in rows if row["run"] == "graph2")
    assert float(best["ICC_low"]) == pytest.approx(0.58)
    assert float(best["seconds"]) == 11
    last = next(row for row in rows if row["run"] == "plain")
    assert (last["done"], last["ICC"], last["graph_levels"]) == ("1", "", "")


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("config.json", "{", "config.json is not the config of a run"),
        ("metrics.jsonl", '{"epoch": 1}\n{"epo', "line 2 of"),
        ("scores.csv", "a,b\n1,2\n", "scores.csv is not a table of scores."),
        ("scores.csv", "\udcff", "'utf-8' codec can't decode byte"),
        ("scores.csv", '"' + "x" * 200_000, "field larger than field limit"),
        ("config.json", None, "config.json is not the config of a run: [Errno 2]"),
    ],
)
def test_what_is_damaged_is_named_and_the_rest_shown(file, text, sentence, folder, capsys):
    path = folder / "graph1" / file
    if text is None:
        path.unlink()
    else:
        path.write_text(text, errors="surrogateescape")
    runs.main([str(folder), "--markdown"])
    shown = capsys.readouterr()
    (line,) = shown.err.splitlines()
    assert line.startswith(f"tfau: {path.parent} is left out: ")
    assert sentence in line
    assert "| graph2 |" in shown.out
    assert "| graph1 |" not in shown.out


def test_an_empty_folder_gets_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["runs", str(tmp_path)])
    assert run_cli(runs.main) == 2
    assert capsys.readouterr().err.startswith(f"tfau: There is no run in {tmp_path}; ")


def test_the_command_needs_no_tensorflow(folder, tmp_path):
    code = (
        "import sys; from tfau import runs; runs.main(sys.argv[1:]);"
        "sys.exit(bool({'tensorflow', 'keras', 'pyarrow'} & set(sys.modules)))"
    )
    out = tmp_path / "out.csv"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), "--over-seeds", "--csv", str(out)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "0.640 ± 0.040" in done.stdout
    assert "±: standard deviation over the seeds." in done.stdout
    assert out.read_text().startswith("run,state,done,epochs,best,")
