"""Events and what they tell: by hand, at any frame rate, and with gaps."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfau.core.events import (
    asymmetry,
    blinks,
    centred_mean,
    co_occurrence,
    observed_s,
    synchrony,
    tracks,
    unit_events,
)
from tfau.core.signals import sample_spans

RATES = (10, 15, 30, 60, 120)


def bump(times, middle, width, height):
    """Rises and falls in straight lines."""
    return np.clip(height * (1 - np.abs(times - middle) / width), 0, None)


@pytest.mark.parametrize("rate", RATES)
def test_a_triangle_has_its_onset_apex_and_offset(rate):
    times = np.arange(0, 6, 1 / rate)
    (event,) = unit_events("AU12", times, bump(times, 3.0, 2.0, 4.0), smooth_s=0.0)
    assert event.onset_s == pytest.approx(1.25, abs=1e-6)
    assert event.apex_s == pytest.approx(3.0, abs=1 / rate)
    assert event.offset_s == pytest.approx(4.75, abs=1e-6)
    assert event.amplitude == pytest.approx(4.0, abs=4 / rate)
    assert event.duration_s == pytest.approx(3.5, abs=1e-6)


@given(st.lists(st.tuples(st.floats(0.4, 1.5), st.floats(1.5, 5.0)), min_size=1, max_size=6))
def test_events_are_the_same_at_any_frame_rate(bumps):
    at, middles = 0.0, []
    for width, height in bumps:
        at += width + 0.6
        middles.append((at, width, height))
        at += width
    found = []
    for rate in (15, 30, 60):
        times = np.arange(0, at + 2, 1 / rate)
        levels = np.sum([bump(times, *one) for one in middles], axis=0)
        found.append(unit_events("AU12", times, levels))
    assert len({len(events) for events in found}) == 1
    for same in zip(*found, strict=True):
        for name in ("onset_s", "offset_s", "apex_s"):
            assert np.ptp([getattr(event, name) for event in same]) <= 1 / 15 + 1e-9


def test_hysteresis_joins_what_trembles_around_the_threshold():
    times = np.arange(0, 4, 1 / 30)
    levels = np.where((times > 1) & (times < 3), 1.0 + 0.4 * np.sin(40 * times), 0.0)
    assert len(unit_events("AU12", times, levels, smooth_s=0.0)) == 1
    assert unit_events("AU12", times, np.minimum(levels, 0.9)) == []


def test_short_and_weak_ones_are_none():
    times = np.arange(0, 4, 1 / 30)
    assert unit_events("AU12", times, np.where(np.abs(times - 2) < 0.02, 3.0, 0.0)) == []
    assert unit_events("AU12", times, np.full(len(times), np.nan)) == []
    assert unit_events("AU12", times[:0], times[:0]) == []
    assert len(unit_events("AU12", times, np.full(len(times), 2.0))) == 1


def test_nothing_goes_on_where_nothing_is_known():
    times = np.arange(0, 9, 1 / 30)
    levels = np.full(len(times), 3.0)
    levels[(times > 3) & (times < 5)] = np.nan
    first, second = unit_events("AU12", times, levels)
    assert first.offset_s == pytest.approx(3.0, abs=0.04)
    assert second.onset_s == pytest.approx(5.0, abs=0.04)
    levels[(times > 3) & (times < 5)] = 3.0
    levels[(times > 3) & (times < 3.3)] = np.nan
    assert len(unit_events("AU12", times, levels)) == 1


@pytest.mark.parametrize("rate", RATES[1:])
def test_blinks_are_counted_at_any_frame_rate(rate):
    times = np.arange(0, 30, 1 / rate)
    closure = np.max([bump(times, 2.03 + 3 * i, 0.15, 5.0) for i in range(9)], axis=0)
    closure = np.maximum(closure, np.where((times > 28) & (times < 29.5), 5.0, 0.0))  # asleep
    assert len(blinks(times, closure)) == 9
    assert observed_s(times, ~np.isnan(closure)) == pytest.approx(30, abs=0.1)


NAMES = tuple("abcdefg")


def states(times, spans):
    """Scores in which (from, to, {name: score}) hold, and little else."""
    scores = np.full((len(times), len(NAMES)), 0.05)
    for start, stop, values in spans:
        for name, value in values.items():
            scores[(times >= start) & (times < stop), NAMES.index(name)] = value
    return scores


@pytest.mark.parametrize("rate", RATES)
def test_dominant_and_two_fold_stretches(rate):
    times = np.arange(0, 10, 1 / rate)
    scores = states(
        times,
        [
            (1, 3, {"a": 0.8, "b": 0.2}),
            (4, 4.3, {"c": 0.9}),  # too short
            (5, 7, {"d": 0.6, "e": 0.55}),
            (8, 9, {"f": 0.8, "g": 0.4}),  # both
        ],
    )
    found = [(e.kind, e.names, e.onset_s, e.offset_s) for e in tracks(times, scores, NAMES)]
    expected = [
        ("dominant", ("a",), 1, 3),
        ("dominant", ("f",), 8, 9),
        ("two-fold", ("d", "e"), 5, 7),
        ("two-fold", ("f", "g"), 8, 9),
    ]
    assert [one[:2] for one in found] == [one[:2] for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert one[2:] == pytest.approx(other[2:], abs=1 / rate)


@pytest.mark.parametrize("rate", RATES[1:])
def test_a_volatile_stretch(rate):
    times = np.arange(0, 12, 1 / rate)
    turns = [(3 + i, 4 + i, {NAMES[i % 5]: 0.4}) for i in range(6)]
    found = [e for e in tracks(times, states(times, turns), NAMES) if e.kind == "volatile"]
    assert len(found) == 1
    assert (found[0].onset_s, found[0].offset_s) == pytest.approx((3, 9), abs=2 / rate)
    calm = [(3, 9, {"a": 0.4})]
    assert not [e for e in tracks(times, states(times, calm), NAMES) if e.kind == "volatile"]


def test_the_last_stretch_counts_and_a_gap_ends_one():
    times = np.concatenate([np.arange(0, 2, 0.1), np.arange(5, 7, 0.1)])
    scores = states(times, [(0, 7, {"a": 0.9})])
    found = [e for e in tracks(times, scores, NAMES) if e.kind == "dominant"]
    assert [(round(e.onset_s, 2), round(e.offset_s, 2)) for e in found] == [
        (-0.05, 1.95),
        (4.95, 6.95),
    ]
    scores[5] = np.nan
    assert len([e for e in tracks(times, scores, NAMES) if e.kind == "dominant"]) == 3


def test_one_expression_or_none():
    times = np.arange(0, 2, 0.1)
    (event,) = tracks(times, np.full((20, 1), 0.6), ("a",))
    assert event.kind == "dominant"
    assert tracks(times[:0], np.zeros((0, 3)), ("a", "b", "c")) == []


def test_time_is_in_proportion_to_length():
    rng = np.random.default_rng(0)

    def seconds(count):
        scores = rng.random((count, 14)) * 0.1 + 0.3
        times = np.arange(count) / 30
        start = time.perf_counter()
        tracks(times, scores, tuple("abcdefghijklmn"))
        return time.perf_counter() - start

    seconds(1000)
    assert seconds(40_000) < 40 * seconds(4_000)  # quadratic would be 100


def test_units_together():
    times = np.arange(8.0)
    active = np.array([[1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1, 0, 0], [0] * 8], bool).T
    shared = co_occurrence(times, active)
    assert shared[0, 1] == pytest.approx(2 / 6)
    assert shared[0, 0] == 1
    assert shared[0, 2] == 0
    assert np.isnan(shared[2, 2])


def test_sides():
    left = np.array([[3.0, 0.0], [3.0, 0.2], [0.1, 0.0]])
    right = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 0.0]])
    skew = asymmetry(left, right)
    assert skew[0] == pytest.approx(0.25)
    assert np.isnan(skew[1])


@pytest.mark.parametrize("lag_s", [-0.7, 0.0, 1.2])
def test_who_follows_whom(lag_s):
    rng = np.random.default_rng(0)
    grid = np.arange(0, 40, 1 / 30)
    course = centred_mean(grid, rng.random(len(grid)) * 5, 0.4)[:, None]
    other_times = np.arange(0, 38, 1 / 25) + 1
    other = np.interp(other_times - lag_s, grid, course[:, 0])[:, None]
    r, lag = synchrony((grid, other_times), (course, other))
    assert r[0] > 0.9
    assert lag[0] == pytest.approx(lag_s, abs=0.051)


def test_strangers_in_time_are_not_compared():
    one, other = np.arange(0, 5, 0.1), np.arange(100, 105, 0.1)
    r, lag = synchrony((one, other), (one[:, None] % 1, other[:, None] % 1))
    assert np.isnan(r[0])
    assert np.isnan(lag[0])
    r, _ = synchrony((one, one), (np.ones((50, 1)), one[:, None]))
    assert np.isnan(r[0])


def test_samples_stand_for_their_time():
    assert sample_spans(np.array([0.0])).tolist() == [0.0]
    assert sample_spans(np.arange(0, 1, 0.1)).sum() == pytest.approx(1.0)
    assert sample_spans(np.zeros(0)).shape == (0,)
