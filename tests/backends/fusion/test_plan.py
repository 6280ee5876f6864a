"""The schedule of a step graph: a node reads living values alone, and dead ones are not read."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, fx

from co3d.backends.fusion.groups import Convolve, Mean, SumDepthwise, View
from co3d.backends.fusion.plan import FusedPlan, plan_graph
from co3d.compiler import StepProgram, convert
from support.graphs import aten, trace
from support.networks import small_network
from support.rule_networks import two_pathways
from support.streaming import randomise_


def plan(
    forward: Callable[..., Any],
    weights: Sequence[Tensor],
    inputs: Sequence[Tensor],
    results: int = 1,
) -> FusedPlan:
    graph = trace(weights, len(inputs), forward)
    return plan_graph(graph, graph, inputs, torch.float32, results)


def names(nodes: Sequence[fx.Node | None]) -> list[str]:
    return [str(node) for node in nodes]


def follow(plan: FusedPlan) -> set[fx.Node]:
    """Simulate a plan's reads and frees, and return the values that are alive at its end."""
    living = set(plan.inputs)
    for node, dead in zip(plan.order, plan.dead_after, strict=True):
        read = {plan.origin(value) for value in plan.reads(node) if value.op != "get_attr"}
        assert read <= living, f"{node} reads {read - living}"
        group = plan.groups.get(node)
        if not isinstance(group, View):
            living.add(node)
        if isinstance(group, SumDepthwise):
            living.update(group.additional)
        living.difference_update(dead)
    return living


def list_plans(program: StepProgram) -> list[FusedPlan]:
    """The plans of all graphs of a program, for two slots."""
    frames = [torch.zeros(2, *shape) for shape in program.frame_shapes]
    past = [torch.zeros(2, *s.shape, dtype=s.dtype) for s in program.states for _ in range(s.depth)]
    clocks = [torch.zeros(2, dtype=torch.int64)] * (2 if program.edges == "both" else 1)
    count = len(program.output_shapes)
    made = []
    for phase in program.phases:
        made.append(plan_graph(phase.steady, phase.steady, [*frames, *past], torch.float32, count))
        if phase.masked is not None:
            inputs = [*frames, *clocks, *past]
            made.append(plan_graph(phase.masked, phase.masked, inputs, torch.float32, count))
    return made


@pytest.mark.parametrize("rate", ["dense", "native"])
def test_programs_read_living_values_only(rate: Any) -> None:
    model, clip = (small_network(), (3, 4, 6, 6)), (two_pathways(), (3, 8, 6, 6))
    network, shape = model if rate == "dense" else clip
    program = convert(randomise_(network), shape, rate=rate, edges="both")
    for made, phase in zip(list_plans(program)[1::2], program.phases, strict=True):
        living = follow(made)
        outputs = {made.origin(node) for node in made.outputs if node is not None}
        assert outputs <= living | {node for node in outputs if node.op == "get_attr"}
        # What is still alive is an output, or was never read.
        read = {made.origin(value) for node in made.order for value in made.reads(node)}
        assert not (living & read) - outputs
        assert len(made.newest) == len(phase.updates)
        assert len(made.results) == len(program.output_shapes)


def test_nodes_of_clocks_alone_come_first() -> None:
    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        made = torch.conv2d(x[0], w[0])
        early = torch.reshape(torch.gt(x[1], 3), (-1, 1, 1, 1))
        return torch.where(early, made, 0.0)

    inputs = [torch.zeros(2, 4, 3, 3), torch.zeros(2, dtype=torch.int64)]
    made = plan(forward, [torch.randn(4, 4, 1, 1)], inputs)
    assert names(made.order) == ["gt", "reshape", "conv2d", "where"]


def test_a_frame_size_is_read_before_kernels_run() -> None:
    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        made = torch.conv2d(x[0], w[0])
        return made, torch.add(x[1], aten.sym_size.int(x[0], 0))

    inputs = [torch.zeros(2, 4, 3, 3), torch.zeros(2, dtype=torch.int64)]
    made = plan(forward, [torch.randn(4, 4, 1, 1)], inputs)
    assert names(made.order) == ["sym_size_int", "add", "conv2d"]


def test_reading_a_view_keeps_its_origin_alive() -> None:
    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        first = torch.conv2d(x[0], w[0])
        flat = torch.flatten(first, 1)
        other = torch.conv2d(x[1], w[0])
        return torch.nn.functional.linear(flat, w[1]), other

    weights = [torch.randn(4, 4, 1, 1), torch.randn(5, 4)]
    made = plan(forward, weights, [torch.zeros(2, 4, 1, 1)] * 2)
    assert names(made.order) == ["conv2d", "flatten", "conv2d_1", "linear"]
    assert isinstance(made.groups[made.order[1]], View)
    assert made.origin(made.order[1]) is made.order[0]
    first, _, _, last = map(names, made.dead_after)
    assert first == ["x0"]
    # The first convolution lives as long as its view, though nothing else reads it by name.
    assert "conv2d" in last
    assert made.written == {made.order[0], made.order[2], made.order[3]}


def test_outputs_and_their_origins_never_die() -> None:
    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> tuple[Tensor, ...]:
        made = torch.conv2d(x[0], w[0])
        return torch.conv2d(made, w[0]), torch.flatten(made, 1), x[0]

    made = plan(forward, [torch.randn(4, 4, 1, 1)], [torch.zeros(2, 4, 1, 1)], results=2)
    assert not [
        name for dead in made.dead_after for name in names(dead) if not name.startswith("w")
    ]
    assert names(made.results) == ["conv2d_1", "flatten"]
    assert names(made.newest) == ["x0"]
    assert made.outputs == (*made.results, *made.newest)


def test_results_that_a_phase_lacks_are_none() -> None:
    graph = trace([], 1, lambda _, x: (torch.relu(x[0]), x[0]))
    output = next(node for node in graph.graph.nodes if node.op == "output")
    output.args = ((None, *output.args[0][1:]),)
    made = plan_graph(graph, graph, [torch.zeros(1, 2, 3, 3)], torch.float32, 1)
    assert made.results == (None,)
    assert names(made.newest) == ["x0"]


def test_origins_that_pytorch_reads_are_found() -> None:
    """The pool is in no group and reads the first convolution; only groups read the second one."""

    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        made = torch.conv2d(x[0], w[0])
        pooled = torch.max_pool2d(made, 1)
        return torch.conv2d(torch.conv2d(pooled, w[0]), w[0])

    made = plan(forward, [torch.randn(4, 4, 1, 1)], [torch.zeros(2, 4, 3, 3)])
    assert names(sorted(made.read_by_torch, key=str)) == ["conv2d"]
    assert [type(made.groups.get(node)) for node in made.order] == [
        Convolve,
        type(None),
        Convolve,
        Convolve,
    ]


def test_fused_nodes_are_not_in_the_order() -> None:
    """The mean is its own group; the convolution's activation and sums are fused into it."""

    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> tuple[Tensor, ...]:
        first, second = (torch.conv2d(x[0], one, padding=(1, 1), groups=4) for one in w)
        total = aten.relu.default(torch.add(x[1], first))
        return torch.mean(total, (2, 3)), total, second

    made = plan(forward, [torch.randn(4, 1, 3, 3)] * 2, [torch.zeros(2, 4, 3, 3)] * 2)
    assert names(made.order) == ["relu_default", "mean"]
    assert {str(node) for node in made.fused_away} == {"conv2d", "conv2d_1", "add"}
    assert isinstance(made.groups[made.order[1]], Mean)
    assert {str(node) for node in made.written} == {"relu_default", "mean", "conv2d_1"}
