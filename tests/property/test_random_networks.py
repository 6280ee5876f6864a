"""Random networks, random videos, random ways to stream them: steps and flush equal clips.

A failure prints a Python file that can be run on its own.
"""

import pytest
from hypothesis import HealthCheck, given, settings

from support.random_networks import random_networks
from support.snippet import Snippet

_HEALTH = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


# The same thirty on every machine, and a thousand new ones below.
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=_HEALTH)
@given(random_networks())
def test_steps_equal_clips(network: Snippet) -> None:
    network.run()


# The kernels of the native backend sum in another order, in single precision; random networks of a
# dozen layers lose some digits more to cancellation.
NATIVE = ("native", "float32", 1e-4)


@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=_HEALTH)
@given(random_networks())
def test_native_steps_equal_clips(network: Snippet) -> None:
    network.on(*NATIVE).run()


@pytest.mark.slow
@settings(max_examples=250, deadline=None, suppress_health_check=_HEALTH)
@given(network=random_networks())
def test_native_steps_of_new_networks_equal_clips(network: Snippet) -> None:
    network.on(*NATIVE).run()


@pytest.mark.slow
@pytest.mark.parametrize("share", range(4))  # so that test workers can divide them
@settings(max_examples=250, deadline=None, suppress_health_check=_HEALTH)
@given(network=random_networks())
def test_steps_of_new_networks_equal_clips(share: int, network: Snippet) -> None:
    network.run()
