"""State in rings against state in lists."""

from collections.abc import Callable, Sequence
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from co3d.backends.elements import Elements
from co3d.backends.native.executor import NativeExecutor
from co3d.backends.native.library import load_library
from co3d.backends.native.memory import Reserve
from co3d.backends.native.rings import Rings
from support.graphs import trace

CHANNELS = 20
DEPTHS = [1, 3, 2]
SHAPE = (2, CHANNELS, 5, 6)


@cache
def compile_step(updates: tuple[int, ...]) -> Callable[..., list[Tensor | None]]:
    """A step that reads all elements; newest ones are a kernel's, PyTorch's, and a past one."""

    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> tuple[Tensor, ...]:
        frame, first, *others = x
        made = torch.relu(torch.conv2d(frame, w[0], None))
        newest = (made, torch.cumsum(frame, 2), first)
        total = torch.add(made, first)
        for other in others:
            total = torch.add(total, other)
        return total, *(newest[i] for i in updates)

    graph = trace([torch.randn(CHANNELS, CHANNELS, 1, 1) / 5], 1 + sum(DEPTHS), forward)
    examples = [torch.zeros(SHAPE) for _ in range(1 + sum(DEPTHS))]
    return NativeExecutor("any", torch.float32, threads=2).compile(graph, examples, 1)


UPDATES = ((0, 1, 2), (0,), (2, 1), ())


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from([*UPDATES, "set"]), min_size=1, max_size=12))
def test_rings_hold_what_lists_hold(events: list) -> None:
    torch.manual_seed(0)
    first = [[torch.randn(SHAPE) for _ in range(depth)] for depth in DEPTHS]
    rings, lists = Rings(first, Reserve(), load_library()), Elements(first, lambda _: None)
    for event in events:
        if event == "set":
            other = [torch.randn(SHAPE) for _ in range(DEPTHS[1])]
            rings.set(1, other)
            lists.set(1, other)
            continue
        frame = torch.randn(SHAPE)
        made = rings.step(compile_step(event), [frame], event)
        assert torch.equal(made[0], lists.step(compile_step(event), [frame], event)[0])
        for state in range(len(DEPTHS)):
            for a, b in zip(rings.get(state), lists.get(state), strict=True):
                assert torch.equal(a, b)


def test_elements_stay_where_they_are() -> None:
    first = [[torch.randn(SHAPE) for _ in range(depth)] for depth in DEPTHS]
    rings = Rings(first, Reserve(), load_library())
    places = []
    for _ in range(8):
        rings.step(compile_step((0, 1, 2)), [torch.randn(SHAPE)], (0, 1, 2))
        places.append([element.data_ptr() for element in rings.get(1)])
    assert places[:4] == places[4:]
    assert len({place for step in places for place in step}) == DEPTHS[1] + 1


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_elements_are_laid_out_as_kernels_read_them(layout: torch.memory_format) -> None:
    element = torch.randn(SHAPE).contiguous(memory_format=layout)
    rings = Rings([[element]], Reserve(), load_library())
    rings.set(0, [element])
    assert torch.equal(rings.get(0)[0], element)
    assert rings.get(0)[0].is_contiguous(memory_format=torch.channels_last)
