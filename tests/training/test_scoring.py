"""Predictions keep what they hold, and their tables say what they are worth and no more."""

import csv
import dataclasses
import io
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfau import plots
from tfau.core import agreement
from tfau.core.action_units import ACTION_UNITS, AUSet
from tfau.predictions import Predictions
from tfau.protocols import Published
from tfau.scoring import ScoreTable, scores

FEW = 20  # resamples, where intervals are not what is looked at


def predictions(
    numbers=(1, 12, 25), people=6, frames=15, folds=3, dataset="disfa/intensity/1.0.0", **facts
) -> Predictions:
    """Intensities 0-5, estimates that know something, a hole here and there."""
    rng = np.random.default_rng(0)
    count = people * frames
    truth = np.clip(rng.integers(-3, 6, (count, len(numbers))), 0, 5).astype(np.float32)
    estimate = np.clip(truth * 0.8 + rng.normal(0, 0.7, truth.shape), 0, 5).astype(np.float32)
    truth[rng.random(truth.shape) < 0.1] = np.nan
    estimate[rng.random(count) < 0.05] = np.nan
    person = np.repeat(np.arange(people), frames)
    return Predictions(
        aus=AUSet(numbers),
        dataset=np.full(count, dataset),
        subject=np.array([f"SN{n + 1:03d}" for n in person]),
        sequence=np.array([f"video {n}" for n in person]),
        group=np.full(count, ""),
        fold=np.array([f"fold{n % folds + 1}" for n in person]),
        frame=np.tile(np.arange(frames), people),
        intensity_true=truth,
        presence_true=np.where(np.isnan(truth), np.nan, truth >= 2).astype(np.float32),
        intensity=estimate,
        presence=np.full(truth.shape, np.nan, np.float32),
        facts={"protocol": "subjects_3", "folds_total": "3", "presence_from": "2", **facts},
    )


def same(one: Predictions, other: Predictions) -> None:
    assert one.aus == other.aus
    assert one.facts == other.facts
    for field in dataclasses.fields(Predictions)[1:-1]:
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_file_gives_back_what_was_written(tmp_path):
    path = tmp_path / "predictions.parquet"
    before = predictions(note="Zwölf Leute, 3 % ohne Gesicht")
    before.write(path)
    same(before, Predictions.read(path))
    before.take(np.zeros(len(before), bool)).write(path)
    same(before.take(np.zeros(len(before), bool)), Predictions.read(path))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_other_tools_find_columns_by_name_and_nulls_for_what_is_not_there(tmp_path):
    path, ours = tmp_path / "predictions.parquet", predictions()
    ours.write(path)
    table = pq.read_table(path)
    expected = {"dataset", "subject", "sequence", "group", "fold", "frame"}
    for unit in ours.aus.names:
        expected |= {
            f"{unit}_{what}{true}" for what in ("intensity", "presence") for true in ("", "_true")
        }
    assert set(table.column_names) == expected
    assert table["AU12_intensity_true"].null_count == np.isnan(ours.intensity_true[:, 1]).sum()
    assert table["AU12_presence"].null_count == len(ours)


def test_what_is_not_ours_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="no file"):
        Predictions.read(tmp_path / "nothing.parquet")
    path = tmp_path / "other.parquet"
    path.write_text("frame,AU12\n")
    with pytest.raises(ValueError, match=r"^\S+ is not a file of predictions that tfau wrote\.$"):
        Predictions.read(path)
    pq.write_table(pa.table({"frame": [1, 2]}), path)
    with pytest.raises(ValueError, match="not a file of predictions"):
        Predictions.read(path)
    with pytest.raises(ValueError, match=r"`frame`|`dataset`"):
        dataclasses.replace(predictions(), frame=np.arange(3))


def test_folds_are_pooled():
    whole = predictions(run="a")
    parts = [whole.take(whole.fold == name) for name in ("fold1", "fold2", "fold3")]
    parts[1] = dataclasses.replace(parts[1], facts={**parts[1].facts, "run": "b"})
    joined = Predictions.join(parts)
    assert len(joined) == len(whole)
    assert joined.folds == (3, 3)
    assert Predictions.join(parts[:2]).facts["folds_done"] == "2 of 3"
    assert joined.facts["run"] == "a, b"
    assert joined.facts["protocol"] == "subjects_3"
    for name, metric in agreement.METRICS.items():
        table = scores(joined, resamples=FEW).intensity
        expected = metric(whole.intensity_true, np.clip(whole.intensity, 0, 5))
        np.testing.assert_allclose(table.metrics[name].value[:-1], expected, rtol=1e-6)
    with pytest.raises(ValueError, match="frame disfa/intensity/1.0.0 SN001 video 0 0"):
        Predictions.join([whole, parts[0]])
    with pytest.raises(ValueError, match="AU01 AU02 and AU01 AU12 AU25"):
        Predictions.join([whole, predictions((1, 2))])
    with pytest.raises(ValueError, match="no predictions"):
        Predictions.join([])


def test_only_units_that_are_coded_and_estimated_are_scored():
    given = predictions((1, 12, 25, 26))
    given.intensity_true[:, 0] = np.nan
    given.intensity[:, 1] = np.nan
    given.presence_true[:, 2:] = np.nan
    both = scores(given, resamples=FEW)
    assert both.intensity.units == ("AU25", "AU26")
    assert both.presence.units == ("AU01",)
    given.presence_true[:] = np.nan
    assert scores(given, resamples=FEW).presence is None
    given.intensity_true[:] = np.nan
    with pytest.raises(ValueError, match="nothing to score"):
        scores(given, resamples=FEW)
    with pytest.raises(ValueError, match="nothing to score"):
        scores(given.take(np.zeros(len(given), bool)), resamples=FEW)


def test_counts_are_those_of_the_codes():
    given = predictions()
    table = scores(given, resamples=FEW).intensity
    np.testing.assert_array_equal(table.coded, (~np.isnan(given.intensity_true)).sum(axis=0))
    np.testing.assert_array_equal(table.positive, (given.intensity_true >= 1).sum(axis=0))


def test_the_threshold_is_that_of_the_truth_unless_there_are_probabilities():
    given = predictions()
    real = given.presence_true

    def decided(changed: Predictions, **more) -> tuple[ScoreTable, np.ndarray]:
        table = scores(changed, resamples=FEW, **more).presence
        return table, table.metrics["F1"].value[:-1]

    table, values = decided(given)
    np.testing.assert_allclose(values, agreement.f1(real, given.intensity, 2))
    assert set(table.threshold) == {"intensity 2"}
    table, values = decided(dataclasses.replace(given, facts={}))
    np.testing.assert_allclose(values, agreement.f1(real, given.intensity, 1))
    assert set(table.threshold) == {"intensity 1"}
    likely = dataclasses.replace(given, presence=given.intensity / 5)
    table, values = decided(likely)
    np.testing.assert_allclose(values, agreement.f1(real, likely.presence, 0.5))
    likely.presence[:, 0] = np.nan
    table, values = decided(likely)
    assert table.threshold == ("intensity 2", "probability 0.5", "probability 0.5")
    np.testing.assert_allclose(values[0], agreement.f1(real, given.intensity, 2)[0])
    table, values = decided(given, threshold=3)
    np.testing.assert_allclose(values, agreement.f1(real, given.intensity, 3))
    for text in (table.markdown(), table.latex(), table.csv()):
        assert "intensity 3" in text


def test_a_constant_answers_with_the_mean_of_the_other_folds():
    given = predictions()
    truth = given.intensity_true.astype(float)
    answer = np.empty_like(truth)
    for fold in np.unique(given.fold):
        answer[given.fold == fold] = np.nanmean(truth[given.fold != fold], axis=0)
    table = scores(given, resamples=FEW).intensity
    np.testing.assert_allclose(table.constant["MAE"][:-1], agreement.mae(truth, answer))
    np.testing.assert_allclose(table.constant["MSE"][-1], agreement.mse(truth, answer).mean())
    alone = predictions(folds=1)
    assert scores(alone, resamples=FEW).intensity.constant == {}
    told = scores(alone, resamples=FEW, constant=[1, 2, np.nan]).intensity.constant
    expected = agreement.mae(truth, np.broadcast_to([1.0, 2, 0], truth.shape))[:2]
    np.testing.assert_allclose(told["MAE"], [*expected, np.nan, expected.mean()])


def test_groups_are_scored_apart_if_there_are_two():
    given = predictions()
    given.group[:] = ""
    assert scores(given, resamples=FEW).groups == {}
    women = given.subject < "SN004"
    group = np.where(women, "female", "male")
    both = scores(dataclasses.replace(given, group=group), resamples=FEW)
    assert set(both.groups) == {"female", "male"}
    table = both.groups["female"].intensity
    expected = agreement.icc(given.intensity_true[women], given.intensity[women])
    np.testing.assert_allclose(table.metrics["ICC"].value[:-1], expected, rtol=1e-6)
    assert table.published == ()
    assert len(both.tables) == 6
    assert {row["group"] for row in read_csv(both.csv())} == {"", "female", "male"}
    assert "Intensity, female" in both.markdown()


def test_people_not_frames_are_drawn():
    given = predictions()
    table = scores(given, resamples=FEW).intensity
    assert "20 draws of these 6 people" in " ".join(table.notes)
    one = dataclasses.replace(given, subject=np.full(len(given), "SN001"))
    table = scores(one, resamples=FEW).intensity
    assert np.isnan(table.metrics["ICC"].low).all()
    assert "at least two people" in " ".join(table.notes)
    assert "[" not in table.markdown()


@pytest.fixture
def table() -> ScoreTable:
    """Two units, one of which could not be scored, and a paper whose name LaTeX would choke on."""
    interval = agreement.Interval(
        np.array([0.721, np.nan, 0.721]),
        np.array([-0.002, np.nan, 0.66]),
        np.array([0.784, np.nan, 0.78]),
    )
    paper = Published("Net_1 & co {50 %}", "X 2020", "ICC", 0.5, {12: 0.25}, "M", "folds of a_b")
    return ScoreTable(
        "Intensity",
        ("AU12", "AU25"),
        {"ICC": interval},
        np.array([10, 11]),
        np.array([3, 4]),
        constant={"MAE": np.array([0.5, np.nan, 0.5])},
        published=(paper,),
        notes=("100 % of a_b.",),
    )


def test_markdown_has_a_cell_for_every_column(table):
    lines = [line for line in table.markdown().splitlines() if line.startswith("|")]
    widths = [line.count("|") for line in lines]
    assert widths == [6] * 5 + [5] * 4
    assert lines[2] == "| AU12 | 10 | 3 | 0.72 [0.00, 0.78] | 0.50 |"
    assert lines[3] == "| AU25 | 11 | 4 | - | - |"
    assert lines[8] == "| ICC | Net_1 & co {50 %}, X 2020 [M, a] | 0.25 | 0.50 |"
    assert "- a: folds of a_b." in table.markdown()


def test_latex_is_escaped_and_square(table):
    text = table.latex()
    assert r"Net\_1 \& co \{50 \%\}, X 2020 [M, a]" in text
    assert r"100 \% of a\_b." in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 2
    for sides, body in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\bottomrule", text, re.DOTALL):
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(sides)}
    special = dataclasses.replace(table, notes=(r"a\b~c^d #1 $2 -0.5 x-1 <3",))
    expected = r"a\textbackslash{}b\textasciitilde{}c\textasciicircum{}d \#1 \$2 $-$0.5 x-1 $<$3"
    assert expected in special.latex()


def test_csv_has_intervals_in_columns_and_nothing_for_what_is_not_known(table):
    ours, unknown, mean, *papers = read_csv(table.csv())
    assert (ours["AU"], ours["coded"], ours["positive"]) == ("AU12", "10", "3")
    assert (ours["ICC"], ours["ICC_low"], ours["ICC_high"]) == ("0.721", "-0.002", "0.784")
    assert (unknown["ICC"], unknown["ICC_low"], unknown["MAE_constant"]) == ("", "", "")
    assert (mean["AU"], mean["coded"], mean["MAE_constant"]) == ("mean", "", "0.5")
    found = [(row["source"], row["AU"], row["ICC"], row["mark"], row["remark"]) for row in papers]
    source = "Net_1 & co {50 %}, X 2020"
    assert found == [
        (source, "AU12", "0.25", "M", "folds of a_b"),
        (source, "mean", "0.5", "M", "folds of a_b"),
    ]


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_the_terminal_is_never_too_narrow(table, capsys, monkeypatch, columns):
    """What does not fit goes into another table below; no number is cut off or lost."""
    monkeypatch.setenv("COLUMNS", str(columns))
    table.show()
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= columns
    for cell in ("0.72 [0.00, 0.78]", "0.72 [0.66, 0.78]", "0.25", "AU25"):
        assert cell in text
    assert "…" not in text


def test_published_values_stand_beside_the_whole_protocol_only():
    numbers = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
    people = [*range(1, 14), *range(16, 19), 21, *range(23, 33)]
    given = predictions(numbers, people=27, frames=4, protocol="disfa_jaa_3")
    subject = np.repeat([f"SN{n:03d}" for n in people], 4)
    whole = scores(dataclasses.replace(given, subject=subject), resamples=FEW)
    assert {paper.metric for paper in whole.intensity.published} == {"ICC", "MAE", "MSE"}
    assert {paper.metric for paper in whole.presence.published} == {"F1"}
    assert "Norface" in whole.markdown()
    reasons = {
        "all 27 people": given,
        "1 of 3": given.take(given.fold == "fold1"),
        "protocol is not known": dataclasses.replace(given, facts={}),
        "bp4d and disfa": dataclasses.replace(
            given, dataset=np.where(np.arange(len(given)) % 2, "disfa/x", "bp4d/x")
        ),
    }
    for words, changed in reasons.items():
        table = scores(changed, resamples=FEW).intensity
        assert table.published == ()
        assert words in " ".join(table.notes)


@pytest.mark.parametrize("numbers", [(12,), (1, 2, 4, 6, 9, 12, 25), tuple(ACTION_UNITS)])
def test_pictures_show_what_the_tables_say(numbers, tmp_path):
    given = predictions(numbers)
    whole = scores(given, resamples=FEW)
    figures = [plots.bars(whole), plots.confusion(given), plots.bland_altman(given)]
    for figure in figures:
        figure.savefig(tmp_path / "picture.png", dpi=40)
    heights = [patch.get_height() for patch in figures[0].axes[0].patches]
    np.testing.assert_allclose(heights, whole.intensity.metrics["ICC"].value)
    for figure in figures[1:]:
        drawn = [axis for axis in figure.axes if axis.get_title()]
        assert [axis.get_title()[:4] for axis in drawn] == list(given.aus.names)
    for axis, coded in zip(figures[1].axes, whole.intensity.coded, strict=False):
        assert sum(int(text.get_text()) for text in axis.texts) == coded


def test_pictures_of_what_cannot_be_scored():
    given = predictions((1, 12))
    given.intensity_true[:, 0] = 3  # a constant truth and a constant estimate: no ICC
    given.intensity[:, 0] = 3
    assert len(plots.bars(scores(given, resamples=FEW)).axes) == 4
    given.intensity_true[:] = np.nan
    assert len(plots.bars(scores(given, resamples=FEW)).axes) == 2
    for draw in (plots.confusion, plots.bland_altman):
        with pytest.raises(ValueError, match="nothing to draw"):
            draw(given)


def test_emotions_are_scored_where_one_is_shown(tmp_path):
    """12 of 90 faces: 6 angry, of which 2 pass for fear and 1 is not found; 6 happy, all named."""
    plain = predictions()
    truth, said = np.full((2, len(plain), 7), np.nan, np.float32)
    said[:] = np.eye(7)[3]
    truth[:12] = said[:12] = np.eye(7)[[0, 4] * 6]
    said[[2, 4]], said[6] = np.eye(7)[3], np.nan
    seen = dataclasses.replace(plain, emotion_true=truth, emotion=said)
    seen.write(tmp_path / "p.parquet")
    same(Predictions.read(tmp_path / "p.parquet"), seen)
    table = scores(Predictions.join([seen.take(np.arange(9)), seen.take(np.arange(9, 90))]))
    table = table.emotion
    assert table.units == ("anger", "happy")
    np.testing.assert_array_equal(table.coded, [12, 12])
    np.testing.assert_array_equal(table.positive, [6, 6])
    np.testing.assert_allclose(table.metrics["F1"].value, [2 / 3, 1, 5 / 6])
    np.testing.assert_allclose(table.metrics["recall"].value, [1 / 2, 1, 3 / 4])
    assert table.notes[2:] == (
        "Accuracy: 0.75.",
        "Accuracy of always anger: 0.50.",
        "Mistaken: anger for fear 2.",
    )
    assert "| emotion |" in table.markdown()
    assert read_csv(table.csv())[1]["emotion"] == "happy"
    assert scores(plain, resamples=FEW).emotion is None


def test_networks_that_saw_the_same_frames_are_averaged():
    one = predictions()
    other = dataclasses.replace(one, intensity=one.intensity + 1, facts={**one.facts, "note": "x"})
    mean = Predictions.average([one, other])
    np.testing.assert_allclose(mean.intensity, one.intensity + 0.5, rtol=1e-6)
    assert mean.facts["note"] == "x, mean of 2 networks"
    same(Predictions.average([one]), dataclasses.replace(one, facts={**one.facts, "note": ""}))
    with pytest.raises(ValueError, match="same units and frames"):
        Predictions.average([one, one.take(np.arange(len(one))[::-1])])
    with pytest.raises(ValueError, match="no predictions to average"):
        Predictions.average([])
