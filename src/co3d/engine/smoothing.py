"""Exponential averages over time that do not depend on the rate of values."""

import math

import numpy as np


class ExponentialAverage:
    """An exponential moving average over time.

    A value that holds for `t` seconds moves the average by `1 − exp(−t / time_constant)` of its
    distance to that value. The average therefore does not depend on the rate of values: a value
    that is added twice within the same span changes nothing. After a sudden change, the average has
    moved half of the way after 0.69 time constants, and 95 % after three.

    Args:
        time_constant_seconds: 0 or more; 0 returns each value unchanged.
    """

    def __init__(self, time_constant_seconds: float) -> None:
        self._time_constant_seconds = time_constant_seconds
        self._average: np.ndarray | None = None
        self._last_seconds = 0.0

    def reset(self) -> None:
        """Discard all values, so that the next one is the average."""
        self._average = None

    def add(self, pts_seconds: float, values: np.ndarray) -> np.ndarray:
        """Add values, which count for the time since the values before.

        Args:
            pts_seconds: their time; it must not decrease.
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
