"""Operands in rows of pools give bitwise the results of contiguous operands.

The kernels are those of `test_fused_graph.py`, which compares them with PyTorch. Here each operand
is in a pool with rows of other slots, in an order of its own.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from support.gpu import TESTED, open_executor
from support.graphs import aten, trace

pytestmark = pytest.mark.slow
BATCH, ROWS = 3, 8


def scatter(values: Tensor) -> tuple[Tensor, Tensor]:
    """Scatter values (N, …) to random rows of a pool; return the pool and the rows."""
    layout = torch.channels_last if values.dim() == 4 else torch.contiguous_format
    filled = torch.full((ROWS, *values.shape[1:]), 100.0).to(values)
    pool = filled.contiguous(memory_format=layout)
    rows = torch.randperm(ROWS)[: len(values)].to(values.device)
    pool[rows] = values
    return pool, rows


def check(graph: Any, inputs: Sequence[Tensor], precision: str = "float32") -> None:
    """Run a graph on contiguous tensors and on pools; its outputs are all newest elements."""
    from co3d.backends.triton_gpu.operand import Operand

    executor: Any = open_executor(precision)
    placed = [x.to(executor.device, executor.dtype) for x in inputs]
    step = executor.compile(graph, placed, 0)
    expected = step(placed)
    sources = [scatter(value) for value in placed]
    pools = [scatter(torch.zeros_like(value)) for value in expected]
    before = [pool.clone() for pool, _ in pools]
    with torch.inference_mode():
        step.graph.run([Operand(*pair) for pair in sources], [Operand(*pair) for pair in pools])
    for wanted, (pool, rows), old in zip(expected, pools, before, strict=True):
        assert torch.equal(pool[rows], wanted)
        others = torch.ones(ROWS, dtype=torch.bool, device=pool.device).index_fill(0, rows, False)
        assert torch.equal(pool[others], old[others])
    for value, (pool, rows) in zip(placed, sources, strict=True):
        assert torch.equal(pool[rows], value)


def dense(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
    made = torch.conv2d(torch.cat([x[0], x[1]], 1), w[0], w[1], padding=(1, 1))
    return aten.relu.default(torch.add(made, x[2]))


def thin(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
    return torch.conv2d(x[0], w[0], w[1], stride=(2, 2), padding=(1, 1))


def gated(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
    return torch.conv2d(aten.silu.default(torch.mul(x[0], x[1])), w[0], w[1])


def linear(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
    return torch.add(torch.conv2d(x[0], w[0], w[1]), x[1])


def sums(w: Sequence[Tensor], x: Sequence[Tensor]) -> tuple[Tensor, ...]:
    options: Any = {"stride": (2, 1), "padding": (1, 1), "groups": 20}
    first, second = (torch.conv2d(x[0], one, None, **options) for one in w)
    return torch.add(torch.add(x[1], first), x[2]), second


def window(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
    return torch.mul(torch.sum(torch.stack([x[0], x[1]]), 0), 0.5)


def gate(w: Sequence[Tensor], x: Sequence[Tensor]) -> tuple[Tensor, ...]:
    made = torch.conv2d(x[0], w[0], None, padding=(1, 1), groups=20)
    mean = torch.mean(made, (2, 3), keepdim=True)
    middle = aten.relu.default(torch.conv2d(mean, w[1], None))
    return made, aten.sigmoid.default(torch.conv2d(middle, w[2], w[3]))


def averaged(w: Sequence[Tensor], x: Sequence[Tensor]) -> tuple[Tensor, ...]:
    made = torch.conv2d(x[0], w[0], None, padding=(1, 1), groups=20)
    return torch.mean(made, (2, 3)), made


def left_to_pytorch(w: Sequence[Tensor], x: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """PyTorch's operators read a pool's rows, copied once for all of them, and write to a pool."""
    made = torch.conv2d(x[0], w[0], w[1])
    pooled = torch.max_pool2d(x[0], 2)
    return pooled, torch.cumsum(made, 1), torch.add(x[0], made), made, x[0]


def viewed(w: Sequence[Tensor], x: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """A kernel reads a view of a row, and a view is an element of state."""
    flat = torch.flatten(x[0], 1)
    return F.linear(flat, w[0], w[1]), flat


CASES: list[tuple[Callable[..., Any], list[tuple[int, ...]], list[tuple[int, ...]]]] = [
    (dense, [(24, 34, 3, 3), (24,)], [(17, 5, 6), (17, 5, 6), (24, 5, 6)]),
    (thin, [(24, 3, 3, 3), (24,)], [(3, 9, 8)]),
    (gated, [(24, 20, 1, 1), (24,)], [(20, 7, 5), (20, 1, 1)]),
    (linear, [(24, 40, 1, 1), (24,)], [(40, 1, 1), (24, 1, 1)]),
    (sums, [(20, 1, 3, 3)] * 2, [(20, 9, 7), (20, 5, 7), (20, 5, 7)]),
    (window, [], [(20, 5, 7)] * 2),
    (gate, [(20, 1, 3, 3), (8, 20, 1, 1), (20, 8, 1, 1), (20,)], [(20, 6, 5)]),
    (averaged, [(20, 1, 3, 3)], [(20, 6, 5)]),
    (left_to_pytorch, [(20, 20, 1, 1), (20,)], [(20, 6, 4)]),
    (viewed, [(24, 40), (24,)], [(40, 1, 1)]),
]


@pytest.mark.parametrize("precision", TESTED)
@pytest.mark.parametrize("case", CASES, ids=[forward.__name__ for forward, *_ in CASES])
def test_operands_may_lie_in_pools(case: Any, precision: str) -> None:
    forward, weights, inputs = case
    torch.manual_seed(0)
    graph = trace([torch.randn(shape) / 3 for shape in weights], len(inputs), forward)
    check(graph, [torch.randn(BATCH, *shape) for shape in inputs], precision)


def test_many_vectors_in_pools() -> None:
    """From 17 vectors on a linear layer runs in tiles of several vectors."""
    from co3d.backends.triton_gpu.operand import Operand

    torch.manual_seed(0)
    graph = trace([torch.randn(24, 40) / 6, torch.randn(24)], 1, lambda w, x: F.linear(x[0], *w))
    executor: Any = open_executor("float32")
    values = torch.randn(20, 40, device=executor.device)
    step = executor.compile(graph, [values], 1)
    pool = torch.full((33, 40), torch.nan, device=executor.device)
    rows = torch.randperm(33)[:20].to(executor.device)
    pool[rows] = values
    with torch.inference_mode():
        (made,) = step.graph.run([Operand(pool, rows)], [])
    assert torch.equal(made, step([values])[0])


@pytest.mark.parametrize("size", [1, 3, 8])
def test_rows_follow_slots_and_their_rings(size: int) -> None:
    from co3d.backends.triton_gpu.pools import Ring

    executor: Any = open_executor("float32")
    rings = [Ring(0, 3, 0), Ring(1, 2, 3), Ring(0, 17, 5)]
    lines = [(ring.kind, ring.length, age) for ring in rings for age in range(ring.length)]
    torch.manual_seed(0)
    heads = torch.randint(0, 100, (3, size))
    wide = torch.full((len(lines), 10), -1, device=executor.device)
    executor._launcher.find_rows(
        heads.to(executor.device),
        torch.tensor(lines, device=executor.device),
        wide[:, :size],
    )
    slots, *pushed = heads.tolist()
    for ring in rings:
        for age in range(ring.length):
            expected = [
                ring.find_row(slot, pushed[ring.kind][i], age) for i, slot in enumerate(slots)
            ]
            assert wide[ring.line + age, :size].tolist() == expected
    assert (wide[:, size:] == -1).all()
