"""Which of many like cases run in `make test`; the rest run in `make test-slow`."""

from collections.abc import Sequence
from typing import Any

import pytest


def slow_but(values: Sequence[Any], *quick: Any) -> list[Any]:
    """Parameters of which all are slow but for those named.

    Raises:
        ValueError: one that is named is not among them.
    """
    if absent := [value for value in quick if value not in values]:
        raise ValueError(f"got {absent}, expected some of {values}")
    return [value if value in quick else _make_slow(value) for value in values]


def _make_slow(value: Any) -> Any:
    """A parameter, or several in a tuple, of a slow test."""
    values = value if isinstance(value, tuple) else (value,)
    return pytest.param(*values, marks=pytest.mark.slow)
