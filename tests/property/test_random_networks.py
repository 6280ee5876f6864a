"""Random networks, random videos, random ways to stream them: steps and flush equal clips.

A failure prints a Python file that can be run on its own.
"""

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from support.random_networks import random_networks
from support.snippet import Snippet

_HEALTH = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


# The same hundred on every machine; other draws are for the slow test.
@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=_HEALTH)
@given(random_networks())
def test_steps_equal_clips(network: Snippet) -> None:
    network.run()
