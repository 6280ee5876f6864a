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
    return [
        value if value in quick else pytest.param(value, marks=pytest.mark.slow) for value in values
    ]
