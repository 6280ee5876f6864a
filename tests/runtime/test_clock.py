"""Clocks as inputs of masked graphs: large ones are reduced, without a change of their phase."""

import pytest

from co3d.compiler import convert
from co3d.runtime.clock import ProgramTiming, SlotClock, make_graph_clocks
from support.enlarging_networks import Autoencoder


@pytest.mark.parametrize("age", [0, 5, (1 << 28) + 1, (1 << 30) + 3, (1 << 40) + 2])
def test_old_clocks_keep_their_phase_and_their_distance_to_the_end(age: int) -> None:
    program = convert(Autoencoder().eval(), (3, 8, 8, 8), edges="both")
    period = len(program.phases)
    assert period == 4
    clock = SlotClock(ProgramTiming(program))
    clock.set(age, age + 2)
    ages, ends = make_graph_clocks([clock], program)
    assert int(ages) % period == age % period
    assert int(ends - ages) == 2
    assert 0 <= int(ages) <= 1 << 28
