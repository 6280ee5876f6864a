import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from co3d.engine.smoothing import ExponentialAverage

SHARES = st.floats(0, 1, width=32)
SPANS = st.floats(0, 10)
CONSTANTS = st.floats(0.01, 100)
EXACT_SPANS = st.integers(0, 170_000).map(lambda ticks: ticks * 60 / 2**20)
"""Up to 9.7 s. Halves to fifths and all their sums are exact, so that values given more often have
the same times. Of other spans times are rounded, and the average is that of the rounded ones."""
SERIES = st.lists(st.tuples(SPANS, st.tuples(SHARES, SHARES)), min_size=1, max_size=12)
EXACT_SERIES = st.lists(st.tuples(EXACT_SPANS, st.tuples(SHARES, SHARES)), min_size=1, max_size=12)


def run(time_constant_seconds: float, series) -> list[np.ndarray]:
    """The averages of (time since the previous value, value) pairs."""
    average, seconds, averages = ExponentialAverage(time_constant_seconds), 0.0, []
    for span_seconds, values in series:
        seconds += span_seconds
        averages.append(average.add(seconds, np.asarray(values)))
    return averages


@given(CONSTANTS, EXACT_SERIES, st.integers(2, 5))
@example(1.0, [(0.0, (0.0, 0.0)), (60 / 2**20, (0.0, 2.0**-126))], 2)
def test_the_average_does_not_depend_on_the_rate(time_constant_seconds, series, times):
    """Values that are repeated `times` as often within the same spans have the same average."""
    often = [(span / times, values) for span, values in series for _ in range(times)]
    expected = run(time_constant_seconds, series)
    actual = run(time_constant_seconds, often)[times - 1 :: times]
    # Values that fade away become subnormal numbers, which have fewer digits.
    np.testing.assert_allclose(actual, expected, atol=np.finfo(np.float64).tiny)


@given(CONSTANTS, SERIES)
def test_the_average_lies_between_the_values(time_constant_seconds, series):
    values = np.asarray([values for _, values in series])
    for count, average in enumerate(run(time_constant_seconds, series), start=1):
        assert (average >= values[:count].min(0) - 1e-9).all()
        assert (average <= values[:count].max(0) + 1e-9).all()


@given(CONSTANTS, st.lists(st.tuples(SPANS, SHARES), min_size=1, max_size=12))
def test_averaged_probabilities_sum_to_one(time_constant_seconds, series):
    pairs = [(span, (share, 1 - share)) for span, share in series]
    for average in run(time_constant_seconds, pairs):
        assert average.sum() == pytest.approx(1)


@given(CONSTANTS, SERIES, SERIES)
def test_a_reset_discards_all_values(time_constant_seconds, before, after):
    average, seconds, averages = ExponentialAverage(time_constant_seconds), 0.0, []
    for number, (span_seconds, values) in enumerate((*before, *after)):
        if number == len(before):
            average.reset()
        seconds += span_seconds
        averages.append(average.add(seconds, np.asarray(values)))
    expected = run(time_constant_seconds, after)
    np.testing.assert_allclose(averages[len(before) :], expected, atol=1e-9)


@given(CONSTANTS, SPANS)
def test_a_step_change_is_followed_exponentially(time_constant_seconds, span_seconds):
    averages = run(time_constant_seconds, [(0, (0.0,)), (span_seconds, (1.0,))])
    assert averages[-1][0] == pytest.approx(1 - math.exp(-span_seconds / time_constant_seconds))


@given(SERIES)
def test_a_time_constant_of_zero_changes_nothing(series):
    np.testing.assert_array_equal(run(0, series), [values for _, values in series])


def test_the_average_is_the_callers_and_of_the_type_of_the_values():
    average = ExponentialAverage(1.0)
    first = average.add(0.0, np.asarray([0.2, 0.8], np.float32))
    first[:] = 7
    second = average.add(0.0, np.asarray([0.9, 0.1], np.float32))
    assert second.dtype == np.float32
    assert second == pytest.approx([0.2, 0.8])
