"""Averages over time of what a network says, whatever the rate at which it says it."""

import math

import numpy as np


class ExponentialAverage:
    """An average of values over time in which what is older counts exponentially less.

    A value that holds for `t` seconds moves the average by `1 − exp(−t / time_constant)` of its
    distance to that value. So the average depends on the times of the values alone: a value that
    is given twice in the same span changes nothing. A sudden change has moved it half of the way
    after 0.69 time constants, and 95 % of it after three.

    Args:
        time_constant_seconds: 0 or more; 0 gives each value back as it is.
    """

    def __init__(self, time_constant_seconds: float) -> None:
        self._time_constant_seconds = time_constant_seconds
        self._average: np.ndarray | None = None
        self._last_seconds = 0.0

    def reset(self) -> None:
        """Forget all values: the next one is the average."""
        self._average = None

    def add(self, pts_seconds: float, values: np.ndarray) -> np.ndarray:
        """Take in values that have held since the time of the ones before.

        Args:
            pts_seconds: their time; it never falls.
            values: an array of floating-point numbers, of the same shape every time.

        Returns:
            The average at that time, of the same shape and type.
        """
        if self._time_constant_seconds == 0:
            return values
        passed_seconds = pts_seconds - self._last_seconds
        self._last_seconds = pts_seconds
        if self._average is None:
            self._average = values.astype(np.float64)
        else:
            passed = passed_seconds / self._time_constant_seconds
            self._average = math.exp(-passed) * self._average - math.expm1(-passed) * values
        return self._average.astype(values.dtype)
