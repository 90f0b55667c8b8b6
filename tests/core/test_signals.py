"""Signals: in seconds, causal, NaN-aware, and the same after a restart."""

import json

import numpy as np
import pytest

from tfau.core.signals import FirstSeconds, OneEuro, RunningQuantile, eye_aspect_ratio

MAKERS = [OneEuro, RunningQuantile, lambda: FirstSeconds(0.5)]


def signal(rate, seconds=4.0):
    times = np.arange(0, seconds, 1 / rate)
    return times, np.column_stack([1 + np.sin(2 * np.pi * 0.5 * times), np.where(times > 2, 3, 0)])


@pytest.mark.parametrize("make", MAKERS)
def test_frame_rate_hardly_matters(make):
    ends = []
    for rate in (15, 30, 60):
        one = make()
        for time, values in zip(*signal(rate), strict=True):
            end = one(values, time)
        ends.append(end)
    assert np.abs(np.array(ends) - ends[1]).max() < 0.25


@pytest.mark.parametrize("make", MAKERS)
def test_state_goes_on_exactly(make):
    times, values = signal(30)
    values[::7, 0] = np.nan
    unbroken, first, second = make(), make(), make()
    expected = [unbroken(v, t) for t, v in zip(times, values, strict=True)]
    second.restore(json.loads(json.dumps(make().state())))
    found = [first(v, t) for t, v in zip(times[:50], values[:50], strict=True)]
    second.restore(json.loads(json.dumps(first.state())))
    found += [second(v, t) for t, v in zip(times[50:], values[50:], strict=True)]
    assert np.array_equal(expected, found, equal_nan=True)


def test_one_euro_calms_noise_and_follows_jumps():
    rng = np.random.default_rng(0)
    smooth, times = OneEuro(), np.arange(0, 4, 1 / 30)
    noisy = np.where(times < 2, 0.0, 4.0) + rng.normal(0, 0.1, len(times))
    found = np.array([smooth([v], t)[0] for v, t in zip(noisy, times, strict=True)])
    assert found[30:55].std() < 0.6 * noisy[30:55].std()
    assert abs(found[times > 2.5].mean() - 4) < 0.1
    assert np.isnan(smooth([np.nan], 5.0)[0])


def test_the_running_quantile_settles_on_the_usual_face():
    quantile, times = RunningQuantile(), np.arange(0, 60, 1 / 30)
    for time in times:
        smile = 3.0 if time % 10 < 3 else 0.0
        level = quantile([0.8 + smile], time)
    assert level[0] == pytest.approx(0.8, abs=0.1)


def test_first_seconds_hold():
    first = FirstSeconds(1.0)
    assert np.isnan(first([np.nan], 0.0)[0])
    assert first([2.0], 0.5)[0] == 2
    assert first([4.0], 1.0)[0] == 3
    assert first([9.0], 1.1)[0] == 3


def test_eye_aspect_ratio_of_an_eye_drawn_by_hand():
    mesh = np.zeros((478, 3))
    mesh[263], mesh[362] = [30, 0, 0], [0, 0, 0]
    for upper, lower in ((387, 373), (386, 374), (385, 380)):
        mesh[upper], mesh[lower] = [10, -5, 0], [10, 4, 0]
    assert eye_aspect_ratio(mesh)[0] == pytest.approx(0.3)
    assert eye_aspect_ratio(mesh * 3)[0] == pytest.approx(0.3)
