"""One step graph as kernels of ours, and PyTorch's for what has none."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from co3d.backends.contract import make_map
from co3d.backends.fusion.groups import (
    Convolve,
    Mean,
    Select,
    SumDepthwise,
    View,
    find_read,
)
from co3d.backends.fusion.patterns import VIEWS, PatternMatcher
from co3d.backends.fusion.reader import find_values
from co3d.backends.triton_gpu.launches import Launcher, can_excite


class FusedGraph:
    """Runs a step graph, for fixed shapes.

    Args:
        graph: in the precision, and on the device, that it runs on.
        exact: the same graph with the weights as they were converted.
        dtype: of maps.
        launcher: launches the kernels.
        examples: one tensor per input.
        results: how many of the outputs are results; the others are elements of state.
    """

    def __init__(
        self,
        graph: fx.GraphModule,
        exact: fx.GraphModule,
        dtype: torch.dtype,
        launcher: Launcher,
        examples: Sequence[Tensor],
        results: int,
    ) -> None:
        self._graph, self._dtype, self._launcher = graph, dtype, launcher
        self._device = examples[0].device
        self._values = find_values(
            graph, [x.to(dtype) if x.is_floating_point() else x for x in examples]
        )
        matcher = PatternMatcher(graph, exact, self._values, dtype)
        matched = matcher.match()
        # Without a value of their own.
        self._hidden = matcher.inner(matched)
        # Views and choices of rows need no kernel of ours.
        self._groups = {n: g for n, g in matched.items() if not isinstance(g, Select | View)}
        self._inputs = [n for n in graph.graph.nodes if n.op == "placeholder"]
        output = next(n for n in graph.graph.nodes if n.op == "output")
        outputs: list[fx.Node | None] = list(output.args[0])
        self._results, self._newest = outputs[:results], outputs[results:]
        # Gates that one kernel makes from sums over pixels: their layer -> the mean, and the layer
        # between.
        self._excited: dict[fx.Node, tuple[fx.Node, fx.Node]] = {}
        self._find_excited()
        self._order = self._list_made()
        self._done = self._find_done()

    def compile_kernels(self, examples: Sequence[Tensor]) -> None:
        """Compile what the graph will launch; it takes seconds, but for kernels kept on disk."""
        with self._launcher.compiling(), torch.inference_mode():
            self(examples)

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor | None]:
        """See `StepFunction`."""
        placed = [self.make_input(given).copy_(given) for given in inputs]
        newest = [None if node is None else self._make(node) for node in self._newest]
        return [*self.run(placed, newest), *newest]

    def make_input(self, like: Tensor) -> Tensor:
        """An uninitialised tensor for a frame or a clock, as the graph reads it."""
        dtype = self._dtype if like.is_floating_point() else like.dtype
        return make_map(like.shape, dtype, self._device, torch.channels_last)

    def reads(self, position: int) -> bool:
        """Whether the graph reads an input."""
        return bool(self._inputs[position].users)

    def run(self, inputs: Sequence[Tensor], newest: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Run the graph.

        Args:
            inputs: frames, clocks and elements of state; maps with channels last.
            newest: the tensors that newest elements are written to.

        Returns:
            The graph's results, in float32.
        """
        targets: dict[fx.Node, Tensor] = {}
        for node, target in zip(self._newest, newest, strict=True):
            if node is not None and target is not None and node.op == "call_function":
                targets.setdefault(node, target)
        values: dict[fx.Node, Any] = dict(zip(self._inputs, inputs, strict=True))
        sums: dict[fx.Node, tuple[Tensor, int]] = {}
        for place, node in enumerate(self._order):
            self._run_node(node, values, targets, sums)
            for read in self._done[place]:
                values.pop(read, None)
        for node, target in zip(self._newest, newest, strict=True):
            if node is not None and target is not None:
                made = self._find(node, values)
                if made is not target:
                    target.copy_(made)
        return [
            # Copies, for a result may be an element of state, which moves on.
            None if node is None else self._find(node, values).to(torch.float32, copy=True)
            for node in self._results
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

        group = self._groups.get(node)
        if node in self._excited:
            mean, squeeze = self._excited[node]
            between = self._groups[squeeze]
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
        else:
            args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: self._find(n, values))
            values[node] = node.target(*args, **kwargs)  # type: ignore[operator]

    def _find(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        if node.op == "get_attr":
            return getattr(self._graph, str(node.target))
        return values[node]

    def _make(self, node: fx.Node) -> Tensor:
        value = self._values[node]
        return make_map(value.shape, value.dtype, self._device, torch.channels_last)

    def _reads(self, node: fx.Node) -> Sequence[fx.Node]:
        group = self._groups.get(node)
        return node.all_input_nodes if group is None else find_read(group)

    def _list_made(self) -> list[fx.Node]:
        """Nodes that make a value, in order."""
        return [
            node
            for node in self._graph.graph.nodes
            if node.op == "call_function" and node not in self._hidden
        ]

    def _find_excited(self) -> None:
        """Find gates that one kernel makes, and hide what it makes on the way."""
        readers: dict[fx.Node, list[fx.Node]] = {}
        for node in self._list_made():
            for read in self._reads(node):
                readers.setdefault(read, []).append(node)

        def follow(path: list[fx.Node]) -> Convolve | None:
            """Go on to the dense layer that alone reads the last value, through views of it."""
            while True:
                found = readers.get(path[-1], [])
                if len(found) != 1 or path[-1] in (*self._results, *self._newest):
                    return None
                path.append(found[0])
                group = self._groups.get(path[-1])
                if isinstance(group, Convolve):
                    return group
                if group is not None or path[-1].target not in VIEWS:
                    return None

        for mean, group in self._groups.items():
            if isinstance(group, Mean):
                path = [mean]
                squeeze = follow(path)
                between = path[-1]
                expand = None if squeeze is None else follow(path)
                channels = self._values[mean].shape[1]
                if (
                    squeeze is not None
                    and expand is not None
                    and can_excite(channels, squeeze, expand)
                ):
                    self._excited[path[-1]] = mean, between
                    self._hidden.update(path[:-1])

    def _find_done(self) -> list[list[fx.Node]]:
        """Values that nobody reads after each place of the order; outputs are kept."""
        last: dict[fx.Node, int] = {}
        for place, node in enumerate(self._order):
            last.update((read, place) for read in self._reads(node))
        kept = {*self._results, *self._newest}
        done: list[list[fx.Node]] = [[] for _ in self._order]
        for node, place in last.items():
            if node not in kept:
                done[place].append(node)
        return done


def _lay_out(value: Tensor) -> Tensor:
    """The same numbers with channels last in memory."""
    if value.dim() == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value.contiguous()
