"""Trap: in native rate the delays of two paths may differ by a fraction of a stride.

A shortcut of stride 2 that waits 3 ticks for its branch is not made at the tick when it is read:
its newest element is in its state already. Counting elements back from the newest, as in dense
rate, reads the one before or after it.
"""

import itertools

import pytest
from torch import nn

from co3d.compiler import TemporalType, convert
from co3d.compiler.rules import Use
from co3d.compiler.states import find_element
from support.mutations import EXACT, Case, Subject
from support.networks import Apply, stem
from support.rule_networks import SHAPE, stem_after


@pytest.mark.parametrize(("stride", "coarser"), [(1, 1), (1, 4), (2, 2), (2, 4), (4, 4)])
def test_reads_find_the_element_of_an_explicit_timeline(stride: int, coarser: int) -> None:
    latched = 0
    for delay, late, back in itertools.product(range(6), range(6), range(13)):
        value = TemporalType(axis=2, stride=stride, delay=delay)
        reader = TemporalType(axis=2, stride=coarser, delay=delay + late)
        tick = reader.delay + 20 * coarser
        if (tick - back - delay) % stride:
            continue  # no element is made at that tick
        made = [t for t in range(tick, -1, -1) if value.is_due(t)]
        index, is_made_now = find_element(Use(None, back), value, reader, dense=False)  # type: ignore[arg-type]
        assert made[index] == tick - back
        assert is_made_now == (made[0] == tick)
        latched += not is_made_now
    assert latched > 0 or stride == 1


@pytest.mark.parametrize(("stride", "kernel", "wait"), [(2, 3, 3), (4, 5, 6), (4, 3, 5), (8, 3, 9)])
def test_a_shortcut_that_waits_for_a_fraction_of_a_stride(
    stride: int, kernel: int, wait: int
) -> None:
    def make() -> nn.Module:
        down = nn.Conv3d(4, 4, (kernel, 3, 3), (stride, 1, 1), (kernel // 2, 1, 1))
        return Apply(
            lambda m, x: m.deep(m.stem(x)) + m.shortcut(m.stem(x)),
            stem=stem(),
            deep=nn.Sequential(down, nn.ReLU(), stem_after(3)),
            shortcut=nn.Conv3d(4, 4, 1, (stride, 1, 1)),
        )

    delays = {row.module_path: row.delay for row in convert(make(), SHAPE).rows}
    assert delays["deep.2"] - delays["shortcut"] == wait
    assert Subject(Case(make, 1, rate="native", lengths=(17, 8, 24))).error() <= EXACT
