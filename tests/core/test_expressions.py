"""Scores of expressions: each formula by hand, and what must hold whatever is shown."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfau.core import AUSet
from tfau.core.expressions import (
    EMOTIONS,
    FINE,
    NEUTRAL,
    SHOWN,
    Expression,
    ExpressionSet,
    chosen,
    cumulated,
    neutral_threshold,
    smoothed,
    top,
    with_neutral,
)

AUS = AUSet([1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 20, 23, 25, 26, 43])


def face(**levels: float) -> np.ndarray:
    """One frame in which only the named units are there."""
    row = np.zeros((1, len(AUS)))
    for name, level in levels.items():
        row[0, AUS.index(int(name[2:]))] = level
    return row


def score(name: str, **levels: float) -> float:
    return float(FINE.of(name).score(face(**levels), AUS)[0, 0])


def test_there_are_31_and_the_neutral_one():
    assert len(FINE) == 31
    assert NEUTRAL not in FINE.names
    assert set(SHOWN) < set(FINE.names)
    assert len(EMOTIONS) == 7


@pytest.mark.parametrize(
    ("name", "levels", "expected"),
    [
        ("happy", {"AU6": 5, "AU12": 5, "AU25": 5}, 1.0),
        ("happy", {"AU12": 5}, 1 / 2.51),
        ("happy", {"AU6": 2.5, "AU12": 2.5, "AU25": 2.5, "AU15": 5}, 0.5 * 0.5),
        ("sad", {"AU1": 5, "AU4": 5, "AU12": 2.5}, 1.6 / 3.77 * 0.75),
        ("surprised", {"AU1": 5, "AU2": 5, "AU5": 5, "AU25": 5, "AU26": 5, "AU12": 5}, 1.0),
        ("domineering", {"AU2": 4, "AU1": 1}, 0.8 * 0.8),
        ("domineering", {"AU2": 5, "AU12": 5}, 0.5),
        # Contempt does not speak against itself, and the strongest other unit does.
        ("contempt", {"AU14": 5}, 1.0),
        ("contempt", {"AU14": 4, "AU12": 2.5, "AU25": 1}, 0.8 * 0.5),
        # Closed eyes are pain, open ones are not.
        ("painful", {"AU43": 5}, 0.2),
        ("painful", {}, 0.0),
    ],
)
def test_formulas_by_hand(name, levels, expected):
    assert score(name, **levels) == pytest.approx(expected)


def test_unknown_units_count_neither_above_nor_below_the_line():
    levels = face(AU12=5)
    levels[0, AUS.index(6)] = np.nan
    assert FINE.of("happy").score(levels, AUS)[0, 0] == pytest.approx(0.5)
    few = AUSet([12, 25])
    assert FINE.of("happy").score([[5.0, 5.0]], few)[0, 0] == pytest.approx(1.0)
    # AU6 alone is .51 of 2.51, less than half.
    assert np.isnan(FINE.of("happy").score([[5.0]], AUSet([6]))[0, 0])
    assert not np.isnan(FINE.of("happy").score([[5.0]], AUSet([6]), coverage=0.2)[0, 0])


def test_emotions_count_the_units_that_are_there():
    levels = face(AU6=1, AU12=3, AU1=0.9)
    found = dict(zip(EMOTIONS.names, EMOTIONS.detected(levels, AUS)[0], strict=True))
    assert found["happiness"] == 1.0
    assert found["contempt"] == 0.5
    assert found["sadness"] == 0.0
    levels[0, AUS.index(23)] = np.nan
    levels[0, AUS.index(4)] = 2
    assert EMOTIONS.of("anger").detected(levels, AUS)[0, 0] == pytest.approx(1 / 3)


LEVELS = hnp.arrays(
    np.float64, (3, len(AUS)), elements=st.one_of(st.floats(0, 5), st.just(float("nan")))
)


@given(LEVELS)
def test_scores_lie_between_0_and_1_or_are_not_known(levels):
    scores = FINE.score(levels, AUS)
    known = scores[~np.isnan(scores)]
    assert ((known >= 0) & (known <= 1)).all()
    every = ~np.isnan(levels).any(axis=1)
    assert not np.isnan(scores[every]).any()


@given(
    hnp.arrays(np.float64, (1, len(AUS)), elements=st.floats(0, 5)),
    st.sampled_from(FINE),
    st.floats(0, 5),
    st.data(),
)
def test_scores_rise_with_their_own_units(levels, expression, more, data):
    unit = data.draw(st.sampled_from(sorted(expression.code)))
    higher = levels.copy()
    higher[0, AUS.index(unit)] = min(5.0, higher[0, AUS.index(unit)] + more)
    one = ExpressionSet((expression,))
    assert one.score(higher, AUS)[0, 0] >= one.score(levels, AUS)[0, 0] - 1e-12


@given(LEVELS, st.permutations(range(len(AUS))))
def test_the_order_of_units_does_not_matter(levels, order):
    shuffled = AUSet([AUS.numbers[i] for i in order])
    np.testing.assert_allclose(
        FINE.score(levels[:, order], shuffled), FINE.score(levels, AUS), atol=1e-12
    )


def test_a_face_below_the_threshold_is_peaceful():
    scores = np.array([[0.1, 0.2], [0.9, 0.1], [np.nan, np.nan]])
    full = with_neutral(scores, 0.3)
    np.testing.assert_array_equal(full[:, 2], [0.3, 0.0, np.nan])
    np.testing.assert_array_equal(top(full, 2), [[2, 1], [0, 1], [-1, -1]])
    assert neutral_threshold(np.arange(11.0)[:, None]) == pytest.approx(9.0)
    assert np.isnan(neutral_threshold(np.full((3, 2), np.nan)))


def test_smoothing_depends_on_time_and_not_on_frames():
    for rate in (15, 30, 60):
        times = np.arange(0, 1, 1 / rate)
        step = np.where(times < 0.5, 0.0, 1.0)[:, None]
        since = times - times[times < 0.5][-1]
        expected = np.where(since > 0, 1 - np.exp(-since / 0.1), 0)
        np.testing.assert_allclose(smoothed(times, step, 0.1)[:, 0], expected, atol=1e-9)


def test_smoothing_begins_anew_behind_a_gap():
    scores = np.array([[1.0], [np.nan], [0.0], [0.0]])
    np.testing.assert_array_equal(smoothed(np.arange(4.0), scores, 10.0)[1:, 0], [np.nan, 0.0, 0.0])


def test_the_window_is_in_seconds_and_weighs_by_rank():
    times = np.arange(0, 20, 0.1)
    ranks = np.where(times[:, None] < 10, [[0, 1]], [[1, -1]])
    weights = cumulated(times, ranks, 2, window_s=5)
    assert weights[99] == pytest.approx([5 * 2 / 3, 5 / 3], abs=0.01)
    assert weights[-1] == pytest.approx([0, 5 * 2 / 3], abs=0.01)


def test_codes_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        "[skeptical]\ncode = {AU02 = 1.0, AU14 = 0.5}\nvalence = -1\nlowered_by = {AU12 = 0.5}\n"
    )
    mine = chosen(["happy"], path)
    assert mine.names == ("happy", "skeptical")
    assert mine.score(face(AU2=5, AU12=5), AUS)[0, 1] == pytest.approx(1 / 1.5 * 0.5)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[x]\ncode = {AU99 = 1.0}", "no AU 99"),
        ("[x]\ncode = {AU1 = 2.0}", "weights must be"),
        ("[x]\ncode = {}", "no unit in its code"),
        ("[x]\nkode = {}", "must have `code`"),
        ("[x]\ncode = 3", "x"),
        ("[x]\ncode = {AU1 = 1.0}\nlowered_by = {AU1 = 1.0}", "for it and against"),
        ("[x]\ncode = {AU1 = 1.0}\nvalence = 7", "valence"),
        ("[happy]\ncode = {AU1 = 1.0}", "already"),
        ("[x", "no TOML file"),
        ("", "holds no expression"),
    ],
)
def test_bad_codes_are_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "codes.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence):
        chosen(["happy"], path)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="no expression 'hapy'"):
        FINE.of("hapy")
    with pytest.raises(ValueError, match="AU 3"):
        Expression("x", {3: 1.0})
