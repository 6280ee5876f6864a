"""Runs a step graph through native kernels, and compares it with the operators that it holds.

Tolerances are relative L2 errors: float32 sums in another order; bfloat16 rounds sources and
weights as the reference does, but keeps sums and what lies between operators in float32.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, fx

from co3d.backends.native.executor import NativeExecutor
from co3d.backends.native.plan import NativeSteps, TorchStep
from co3d.backends.native.step import PlannedStep
from support.streaming import relative_error

TOLERANCES = {torch.float32: 1e-6, torch.bfloat16: 1e-2}


@cache
def open_executor(dtype: torch.dtype) -> NativeExecutor:
    """One for all tests, made when the first of them runs: it may have to build the kernels."""
    return NativeExecutor(str(dtype).removeprefix("torch."), dtype, threads=2)


def run_both(
    graph: fx.GraphModule, inputs: Sequence[Tensor], dtype: torch.dtype, results: int = 0
) -> list[NativeSteps | TorchStep]:
    """Compare all outputs with the graph's own, and return the steps of the plan."""
    executor = open_executor(dtype)
    placed = [x.to(dtype) if x.is_floating_point() else x for x in inputs]
    exact = [x.double() if x.is_floating_point() else x for x in placed]
    step = executor.compile(graph, placed, results)
    expected = fx.GraphModule(
        {name: tensor.to(dtype).double() for name, tensor in graph.named_buffers()}, graph.graph
    )(*exact)
    for _ in range(2):  # the second time in memory that was used
        made = step(placed)
        for actual, wanted in zip(made, expected, strict=True):
            assert actual is not None
            assert actual.shape == wanted.shape
            assert relative_error(actual.double(), wanted) < TOLERANCES[dtype]
    assert isinstance(step, PlannedStep)
    return step.plan.steps


def assert_one_kernel(steps: Sequence[NativeSteps | TorchStep], operations: int = 1) -> None:
    assert [type(step) for step in steps] == [NativeSteps]
    assert isinstance(steps[0], NativeSteps)
    assert steps[0].count == operations
