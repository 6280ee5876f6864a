"""Runs one step graph with co3d's kernels, and with PyTorch's for operators without a kernel."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, fx

from co3d.backends.fusion.groups import Convolve, Mean, SumDepthwise, View
from co3d.backends.fusion.plan import FusedPlan
from co3d.backends.triton_gpu.launches import Launcher, can_excite
from co3d.backends.triton_gpu.operand import Operand
from co3d.backends.triton_gpu.values import Values


class FusedGraph:
    """Runs a step graph for any batch size that the plan holds for.

    Args:
        plan: the step graph as an ordered list of fused groups, with its weights on the device.
        launcher: launches the kernels.

    Attributes:
        plan: the same.
        fused_gates: squeeze-and-excitation gates that one kernel computes: the node of the second
            linear layer -> the nodes of the mean and of the first linear layer.
    """

    def __init__(self, plan: FusedPlan, launcher: Launcher) -> None:
        self.plan, self._launcher = plan, launcher
        self.fused_gates, self._skipped = _find_fused_gates(plan)
        self._written = plan.written

    def run(
        self, inputs: Sequence[Operand], newest: Sequence[Operand | None]
    ) -> list[Tensor | None]:
        """Run the graph.

        Args:
            inputs: frames, clocks and elements of state.
            newest: where newest elements are written.

        Returns:
            The graph's results, in float32.
        """
        targets: dict[fx.Node, Operand] = {}
        for node, target in zip(self.plan.newest, newest, strict=True):
            if node in self._written and target is not None:
                targets.setdefault(node, target)
        values = Values(self.plan, inputs, targets)
        sums: dict[fx.Node, Tensor] = {}
        for node, dead in zip(self.plan.order, self.plan.dead_after, strict=True):
            if node not in self._skipped:
                self._run_node(node, values, sums)
            for value in dead:
                values.drop(value)
        for node, target in zip(self.plan.newest, newest, strict=True):
            if node is not None and target is not None and not values.lies_at(node, target):
                target.write(values.read(node))
        return [
            # Copies, because a result may be a view of an element of state.
            None if node is None else values.read(node).to(torch.float32, copy=True)
            for node in self.plan.results
        ]

    def _run_node(self, node: fx.Node, values: Values, sums: dict[fx.Node, Tensor]) -> None:
        """Compute the value of a node, and the additional outputs of its group."""
        group = self.plan.groups.get(node)
        if node in self.fused_gates:
            mean, squeeze = self.fused_gates[node]
            between, made = self.plan.groups[squeeze], sums.pop(mean)
            assert isinstance(between, Convolve)
            assert isinstance(group, Convolve)
            pixels = self._count_pixels(mean)
            self._launcher.excite(made, pixels, between, group, values.make(node, made))
        elif isinstance(group, Convolve):
            sources = [values.locate(source) for source in group.sources]
            gate, residual = (
                None if other is None else values.locate(other)
                for other in (group.gate, group.residual)
            )
            out = values.make(node, sources[0])
            self._launcher.convolve(group, sources, gate, residual, out)
        elif isinstance(group, SumDepthwise):
            sources, added = (
                [values.locate(n) for n in nodes] for nodes in (group.sources, group.added)
            )
            outs = [values.make(made, sources[0]) for made in (node, *group.additional)]
            made_sums = self._launcher.sum_depthwise(group, sources, added, outs)
            if made_sums is not None:
                assert group.mean is not None
                sums[group.mean] = made_sums
        elif isinstance(group, Mean):
            made = sums.pop(node)
            self._launcher.average(made, self._count_pixels(node), values.make(node, made))
        elif not isinstance(group, View):
            args, kwargs = fx.map_arg((node.args, node.kwargs), values.read)
            values.put(node, node.target(*args, **kwargs))  # type: ignore[operator]

    def _count_pixels(self, mean: fx.Node) -> int:
        """Pixels of the map that a mean is taken of."""
        group = self.plan.groups[mean]
        assert isinstance(group, Mean)
        return math.prod(self.plan.values[group.source].shape[2:])


def _find_fused_gates(
    plan: FusedPlan,
) -> tuple[dict[fx.Node, tuple[fx.Node, fx.Node]], set[fx.Node]]:
    """Find gates that one kernel computes (see `FusedGraph`), and the nodes that it replaces."""
    readers: dict[fx.Node, list[fx.Node]] = {}
    for node in plan.order:
        for read in plan.reads(node):
            readers.setdefault(read, []).append(node)

    def follow(path: list[fx.Node]) -> Convolve | None:
        """Extend the path to the dense layer that is the only reader of its last value.

        Views in between are followed. None where the value has another reader.
        """
        while True:
            found = readers.get(path[-1], [])
            if len(found) != 1 or path[-1] in plan.outputs:
                return None
            path.append(found[0])
            group = plan.groups.get(path[-1])
            if isinstance(group, Convolve):
                return group
            if not isinstance(group, View):
                return None

    fused_gates: dict[fx.Node, tuple[fx.Node, fx.Node]] = {}
    skipped: set[fx.Node] = set()
    for mean, group in plan.groups.items():
        if isinstance(group, Mean):
            path = [mean]
            squeeze = follow(path)
            between = path[-1]
            expand = None if squeeze is None else follow(path)
            channels = plan.values[mean].shape[1]
            if squeeze is not None and expand is not None and can_excite(channels, squeeze, expand):
                fused_gates[path[-1]] = mean, between
                skipped.update(path[:-1])
    return fused_gates, skipped
