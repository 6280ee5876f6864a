"""State in exchanged blocks equals state in lists."""

import gc
from collections.abc import Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx

from co3d.backends.native.executable import NativeExecutable
from co3d.backends.native.executor import NativeExecutor
from co3d.backends.torch_eager import TorchExecutor
from co3d.compiler.program import Phase
from co3d.compiler.temporal import StateSpec
from support.graphs import trace

CHANNELS, SIZE = 20, (5, 6)
SHAPE = (CHANNELS, *SIZE)
DEPTHS = [1, 3, 2, 2]
FILLS = [0.0, -float("inf"), 1.0, 0.0]
SLOTS = 3


def make_graph(updates: Sequence[int]) -> fx.GraphModule:
    """A step that reads all elements of state.

    The newest elements are made by a kernel, by PyTorch, taken from another state's past, and made
    by a kernel and read in the same step.
    """

    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> tuple[Tensor, ...]:
        frame, first, *others = x
        made = torch.relu(torch.conv2d(frame, w[0], None))
        later = torch.relu(torch.conv2d(torch.add(made, others[-1]), w[0], None))
        newest = (made, torch.cumsum(frame, 2), first, later)
        total = torch.add(later, first)
        for other in others:
            total = torch.add(total, torch.clamp(other, -5, 5))
        return total, *(newest[i] for i in updates)

    return trace([torch.randn(CHANNELS, CHANNELS, 1, 1) / 5], 1 + sum(DEPTHS), forward)


UPDATES = ((0, 1, 2, 3), (0,), (2, 1), (), (3, 0), (1, 2))


@cache
def make_program() -> Any:
    """A program with one phase per set of updated states, and no masks."""
    torch.manual_seed(0)
    phases = [Phase(make_graph(updates), None, updates, True, 0) for updates in UPDATES]
    states = [
        StateSpec(f"s{i}", SHAPE, depth, fill, torch.float32)
        for i, (depth, fill) in enumerate(zip(DEPTHS, FILLS, strict=True))
    ]
    return SimpleNamespace(
        states=states,
        phases=phases,
        frame_shapes=(SHAPE,),
        output_shapes=(SHAPE,),
        edges="none",
        graph_slots=None,
    )


@cache
def load() -> NativeExecutable:
    executable = NativeExecutor("any", torch.float32, threads=2).load(make_program())
    assert isinstance(executable, NativeExecutable)
    return executable


EVENTS = st.lists(
    st.one_of(
        st.tuples(
            st.integers(0, len(UPDATES) - 1),
            st.lists(st.integers(0, SLOTS - 1), min_size=1, max_size=SLOTS, unique=True),
        ),
        st.tuples(st.sampled_from(["reset", "write", "reopen"]), st.integers(0, SLOTS - 1)),
    ),
    min_size=1,
    max_size=14,
)


@settings(max_examples=40, deadline=None)
@given(EVENTS)
def test_exchanged_blocks_equal_lists(events: list) -> None:
    lists = TorchExecutor(torch.float32, torch.device("cpu"), 1).load(make_program())
    blocks = load()
    generator = torch.Generator().manual_seed(0)
    slots = [(blocks.open(), lists.open()) for _ in range(SLOTS)]
    for what, which in events:
        if isinstance(what, int):
            frames = [torch.randn(len(which), *SHAPE, generator=generator)]
            made, expected = (
                executable.step(what, False, [slots[i][side] for i in which], frames, ())[0]
                for side, executable in enumerate((blocks, lists))
            )
            assert made is not None
            torch.testing.assert_close(made, expected)
            assert made.isfinite().all()
        elif what == "reset":
            for state in slots[which]:
                state.reset()
        elif what == "write":
            given = [[torch.randn(SHAPE, generator=generator)] * depth for depth in DEPTHS]
            for state in slots[which]:
                state.write(given)
        else:
            for state in slots[which]:
                state.close()
            slots[which] = blocks.open(), lists.open()
        for pair in slots:
            for ours, theirs in zip(pair[0].read(), pair[1].read(), strict=True):
                for a, b in zip(ours, theirs, strict=True):
                    torch.testing.assert_close(a, b)
    for pair in slots:
        for state in pair:
            state.close()


def _free_blocks(executable: NativeExecutable) -> int:
    return sum(map(len, executable._pool._free.values()))


@pytest.mark.parametrize("close", [True, False])
def test_closed_or_garbage_collected_slots_give_their_blocks_back(close: bool) -> None:
    executable = load()
    opened = executable.open()
    frames = [torch.randn(1, *SHAPE)]
    for phase in range(len(UPDATES)):  # steps exchange blocks between slots
        executable.step(phase, False, [opened], frames, ())
    opened.close()
    before, known = _free_blocks(executable), len(executable._pool._memory)
    for _ in range(50):
        state = executable.open()
        executable.step(0, False, [state], frames, ())
        if close:
            state.close()
        del state
    gc.collect()
    assert _free_blocks(executable) == before
    assert len(executable._pool._memory) == known


def test_no_block_is_used_twice() -> None:
    executable = load()
    states = [executable.open() for _ in range(SLOTS)]
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        phase = int(torch.randint(len(UPDATES), (), generator=generator))
        count = int(torch.randint(1, SLOTS + 1, (), generator=generator))
        executable.step(phase, False, states[:count], [torch.randn(count, *SHAPE)], ())
        held = [block for state in states for block in list(state.blocks)]
        held += [b for worker in executable._workers for b in list(worker.spares)]
        held += [b for blocks in executable._pool._free.values() for b in blocks]
        assert len(set(held)) == len(held)
    for state in states:
        state.close()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_elements_are_laid_out_as_kernels_read_them(layout: torch.memory_format) -> None:
    element = torch.randn(1, *SHAPE).contiguous(memory_format=layout)[0]
    state = load().open()
    state.write([[element] * depth for depth in DEPTHS])
    assert torch.equal(state.read()[0][0], element)
    assert state.view(0).is_contiguous(memory_format=torch.channels_last)
    state.close()
