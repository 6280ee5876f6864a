"""One step graph as kernels of ours, and PyTorch's for what has none."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from co3d.backends.contract import make_map
from co3d.backends.fusion.groups import Convolve, Mean, SumDepthwise, View
from co3d.backends.fusion.plan import FusedPlan
from co3d.backends.triton_gpu.launches import Launcher, can_excite


class FusedGraph:
    """Runs a step graph, for fixed shapes.

    Args:
        plan: the step graph as groups in an order, with its weights on the device.
        dtype: of maps.
        device: where it runs.
        launcher: launches the kernels.
    """

    def __init__(
        self, plan: FusedPlan, dtype: torch.dtype, device: torch.device, launcher: Launcher
    ) -> None:
        self._plan, self._dtype, self._device, self._launcher = plan, dtype, device, launcher
        # Gates that one kernel makes from sums over pixels: their layer -> the mean, and the layer
        # between.
        self._excited: dict[fx.Node, tuple[fx.Node, fx.Node]] = {}
        # What that kernel makes on the way.
        self._skipped: set[fx.Node] = set()
        self._find_excited()

    def compile_kernels(self, examples: Sequence[Tensor]) -> None:
        """Compile what the graph will launch; it takes seconds, but for kernels kept on disk."""
        with self._launcher.compiling(), torch.inference_mode():
            self(examples)

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor | None]:
        """See `StepFunction`."""
        placed = [self.make_input(given).copy_(given) for given in inputs]
        newest = [None if node is None else self._make(node) for node in self._plan.newest]
        return [*self.run(placed, newest), *newest]

    def make_input(self, like: Tensor) -> Tensor:
        """An uninitialised tensor for a frame or a clock, as the graph reads it."""
        dtype = self._dtype if like.is_floating_point() else like.dtype
        return make_map(like.shape, dtype, self._device, torch.channels_last)

    def reads(self, position: int) -> bool:
        """Whether the graph reads an input."""
        return bool(self._plan.inputs[position].users)

    def run(self, inputs: Sequence[Tensor], newest: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Run the graph.

        Args:
            inputs: frames, clocks and elements of state; maps with channels last.
            newest: the tensors that newest elements are written to.

        Returns:
            The graph's results, in float32.
        """
        targets: dict[fx.Node, Tensor] = {}
        for node, target in zip(self._plan.newest, newest, strict=True):
            if node is not None and target is not None and node.op == "call_function":
                targets.setdefault(node, target)
        values: dict[fx.Node, Any] = dict(zip(self._plan.inputs, inputs, strict=True))
        sums: dict[fx.Node, tuple[Tensor, int]] = {}
        for node, done in zip(self._plan.order, self._plan.done, strict=True):
            if node not in self._skipped:
                self._run_node(node, values, targets, sums)
            for value in done:
                values.pop(value, None)
        for node, target in zip(self._plan.newest, newest, strict=True):
            if node is not None and target is not None:
                made = self._find(node, values)
                if made is not target:
                    target.copy_(made)
        return [
            # Copies, for a result may be an element of state, which moves on.
            None if node is None else self._find(node, values).to(torch.float32, copy=True)
            for node in self._plan.results
        ]

    def _run_node(
        self,
        node: fx.Node,
        values: dict[fx.Node, Any],
        targets: dict[fx.Node, Tensor],
        sums: dict[fx.Node, tuple[Tensor, int]],
    ) -> None:
        """Compute the value of a node, and what is made beside it."""

        def read(source: fx.Node) -> Tensor:
            return _lay_out(self._find(source, values))

        def make(made: fx.Node) -> Tensor:
            values[made] = targets[made] if made in targets else self._make(made)
            return values[made]

        group = self._plan.groups.get(node)
        if node in self._excited:
            mean, squeeze = self._excited[node]
            between = self._plan.groups[squeeze]
            assert isinstance(between, Convolve)
            assert isinstance(group, Convolve)
            self._launcher.excite(*sums.pop(mean), between, group, make(node))
        elif isinstance(group, Convolve):
            gate, residual = (
                None if other is None else read(other) for other in (group.gate, group.residual)
            )
            sources = [read(source) for source in group.sources]
            self._launcher.convolve(group, sources, gate, residual, make(node))
        elif isinstance(group, SumDepthwise):
            sources, added = ([read(n) for n in nodes] for nodes in (group.sources, group.added))
            outs = [make(made) for made in (node, *group.beside)]
            made_sums = self._launcher.sum_depthwise(group, sources, added, outs)
            if made_sums is not None:
                assert group.mean is not None
                sums[group.mean] = made_sums, outs[0][0, 0].numel()
        elif isinstance(group, Mean):
            self._launcher.average(*sums.pop(node), make(node))
        elif not isinstance(group, View):
            args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: self._find(n, values))
            values[node] = node.target(*args, **kwargs)  # type: ignore[operator]

    def _find(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        if node.op == "get_attr":
            return getattr(self._plan.graph, str(node.target))
        group = self._plan.groups.get(node)
        if isinstance(group, View):
            return self._find(group.source, values).reshape(self._plan.values[node].shape)
        return values[node]

    def _make(self, node: fx.Node) -> Tensor:
        value = self._plan.values[node]
        return make_map(value.shape, value.dtype, self._device, torch.channels_last)

    def _find_excited(self) -> None:
        """Find gates that one kernel makes, and what need not be made on the way."""
        readers: dict[fx.Node, list[fx.Node]] = {}
        for node in self._plan.order:
            for read in self._plan.reads(node):
                readers.setdefault(read, []).append(node)

        def follow(path: list[fx.Node]) -> Convolve | None:
            """Go on to the dense layer that alone reads the last value, through views of it."""
            while True:
                found = readers.get(path[-1], [])
                if len(found) != 1 or path[-1] in self._plan.outputs:
                    return None
                path.append(found[0])
                group = self._plan.groups.get(path[-1])
                if isinstance(group, Convolve):
                    return group
                if not isinstance(group, View):
                    return None

        for mean, group in self._plan.groups.items():
            if isinstance(group, Mean):
                path = [mean]
                squeeze = follow(path)
                between = path[-1]
                expand = None if squeeze is None else follow(path)
                channels = self._plan.values[mean].shape[1]
                if (
                    squeeze is not None
                    and expand is not None
                    and can_excite(channels, squeeze, expand)
                ):
                    self._excited[path[-1]] = mean, between
                    self._skipped.update(path[:-1])


def _lay_out(value: Tensor) -> Tensor:
    """The same numbers with channels last in memory."""
    if value.dim() == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value.contiguous()
