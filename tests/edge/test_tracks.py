"""Tracks: the same number for the same face, whatever the order and whoever crosses."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.tracks import Tracker, assign
from tfau.core import FaceFrame

SHAPE = np.random.default_rng(0).uniform(-0.5, 0.5, (468, 3)).astype("f4")


def face(x, y=100.0, size=100.0):
    return FaceFrame(SHAPE * np.float32(size) + np.float32([x, y, 0]), (640, 480))


def follow(places, tracker=None, step_ms=33.0, start=0):
    """Feeds (frame, face) -> x, None where a face is hidden; returns the numbers likewise."""
    tracker, numbers = tracker or Tracker(), []
    for index, row in enumerate(places):
        seen = [(column, face(x)) for column, x in enumerate(row) if x is not None]
        found = tracker.update([f for _, f in seen], (start + index) * step_ms)
        row_numbers = [None] * len(row)
        for (column, _), numbered in zip(seen, found, strict=True):
            row_numbers[column] = numbered.track_id
        numbers.append(row_numbers)
    return numbers


costs = st.integers(0, 5).flatmap(
    lambda n: st.integers(0, 5).flatmap(
        lambda m: st.lists(
            st.lists(st.integers(0, 9), min_size=m, max_size=m), min_size=n, max_size=n
        ).map(lambda rows: np.array(rows, float).reshape(n, m))
    )
)


@given(costs)
def test_the_assignment_is_the_cheapest(cost):
    pairs = assign(cost)
    rows, columns = cost.shape
    assert len(pairs) == min(rows, columns)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    wide = cost if rows <= columns else cost.T
    best = min(
        sum(wide[i, p] for i, p in enumerate(chosen))
        for chosen in itertools.permutations(range(wide.shape[1]), wide.shape[0])
    )
    assert sum(cost[pair] for pair in pairs) == best


def test_numbers_last_and_are_not_used_twice():
    numbers = follow([[100, 400], [104, 398], [None, 396], [112, 394], [116, 392]])
    assert numbers == [[0, 1], [0, 1], [None, 1], [0, 1], [0, 1]]


@pytest.mark.parametrize("hidden", [0, 6])
def test_faces_that_cross_keep_their_numbers(hidden):
    """Both walk on; while they overlap one may hide the other."""
    rows = []
    for index in range(60):
        left, right = 100.0 + 6 * index, 460.0 - 6 * index
        covered = hidden and abs(left - right) < 6 * hidden
        rows.append([left, None if covered else right])
    numbers = follow(rows)
    assert all(row[0] == 0 for row in numbers)
    assert {row[1] for row in numbers} - {None} == {1}


def test_the_order_of_the_faces_does_not_matter():
    rows = [[100 + 6 * i, 460 - 6 * i] for i in range(60)]
    tracker, swapped = Tracker(), Tracker()
    for index, (a, b) in enumerate(rows):
        first, second = face(a), face(b, 112.0)
        one = tracker.update([first, second], index * 33.0)
        if index == 0:
            swapped.update([first, second], 0.0)
            continue
        two = swapped.update([second, first], index * 33.0)
        assert [f.track_id for f in one] == [f.track_id for f in two][::-1]


def test_who_comes_back_late_or_elsewhere_is_new():
    assert follow([[100]] * 3 + [[None]] * 40 + [[100]])[-1] == [1]
    assert follow([[100]] * 3 + [[400]])[-1] == [1]
    assert follow([[100]] * 3 + [[None]] * 10 + [[100]])[-1] == [0]


def test_a_tracker_goes_on_from_its_state():
    rows = [[100 + 6 * i, 460 - 6 * i] for i in range(60)]
    unbroken = follow(rows)
    tracker, later = Tracker(), Tracker()
    first = follow(rows[:25], tracker)
    later.restore(json.loads(json.dumps(tracker.state())))
    assert first + follow(rows[25:], later, start=25) == unbroken
