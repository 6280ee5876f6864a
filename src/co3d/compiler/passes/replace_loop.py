"""Replace an unrolled loop by one scan."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn

from co3d.compiler.insertion import insert, insert_constant, replace
from co3d.compiler.passes.equivalence import Pick
from co3d.compiler.passes.loop_body import Body
from co3d.compiler.rules.registry import arguments
from co3d.compiler.rules.scan import Scan

_ATEN = torch.ops.aten


def replace_loop(
    clip_graph: fx.GraphModule, body: Body, picks: Mapping[fx.Node, Pick], frames: int
) -> bool:
    """Let the readers of a loop read a scan instead; returns whether that is possible.

    Args:
        clip_graph: the graph; unrolled levels without readers are removed.
        body: the body of the loop.
        picks: the selections of frames that it reads.
        frames: number of iterations.
    """
    replaced = [*body.collected, *(r for _, readers in body.last.values() for r in readers)]
    first = min(replaced)
    writer = _BodyWriter(clip_graph, body, picks)
    if any(not x < first for x, _ in writer.sources):
        return False  # one of its inputs depends on its results
    if any(arguments(c)["dim"] % len(c.meta["val"].shape) == 0 for c in body.collected):
        return False
    scan = writer.write()
    if scan is None:
        return False
    with clip_graph.graph.inserting_before(first):
        inputs = [_move_to_front(x, dim) for x, dim in writer.sources]
        constants = [_repeat_constant(clip_graph, c) for c in writer.constants]
        made = insert(writer.example, scan, (inputs, constants))
        results = [_take_result(made, scan, i) for i in range(len(scan.shapes))]
        values = dict(zip(writer.results, results, strict=True))
        gathered = {c: _gather(c, values[writer.gathered[c]]) for c in body.collected}
        ends = {
            node: insert(made, _ATEN.select.int, (values[node], 1, frames - 1))
            for node in body.last
        }
    for collector, value in gathered.items():
        replace(collector, value)
    for node, (end, readers) in body.last.items():
        for reader in readers:
            reader.replace_input_with(end, ends[node])
    clip_graph.graph.eliminate_dead_code()
    return True


class _BodyWriter:
    """Writes the graph of a loop's body.

    Attributes:
        sources: the values whose elements it reads, with their time axes.
        constants: the constants that it reads.
        gathered: collector -> the body's node whose values it gathers.
        results: the body's nodes whose values it returns, those of the past first.
        example: one of its nodes, for messages.
    """

    def __init__(
        self, clip_graph: fx.GraphModule, body: Body, picks: Mapping[fx.Node, Pick]
    ) -> None:
        self._clip_graph, self._body = clip_graph, body
        operands = [n for node in body.nodes for n in node.all_input_nodes]
        self._picks = {n: picks[n] for n in operands if n in picks}
        self.sources = list(dict.fromkeys(pick.source for pick in self._picks.values()))
        known = {*body.nodes, *body.past, *self._picks}
        self.constants = list(dict.fromkeys(n for n in operands if n not in known))
        self.gathered = {c: self._find_gathered(c, node) for c, node in body.collected.items()}
        wanted = [*body.past.values(), *self.gathered.values(), *body.last]
        self.results = list(dict.fromkeys(wanted))
        self.example = body.nodes[-1]

    def _find_gathered(self, collector: fx.Node, node: fx.Node) -> fx.Node:
        """The node to return for a collector, before an axis of one was inserted for it."""
        inner, rank = node.all_input_nodes[0], node.meta["val"].dim()
        if node.target is not _ATEN.unsqueeze.default or inner not in self._body.nodes:
            return node
        dims = [arguments(n)["dim"] % rank for n in (node, collector)]
        return inner if dims[0] == dims[1] else node

    def write(self) -> Scan | None:
        """Write the scan; None where its results have several dtypes, or a constant is computed."""
        if any(c.op != "get_attr" for c in self.constants) or not self.sources:
            return None
        if len({node.meta["val"].dtype for node in self.results}) > 1:
            return None
        if any(node.meta["val"].dim() < 2 for node in self.results):
            return None
        graph = fx.Graph()
        made: dict[fx.Node, fx.Node] = {}
        elements = {
            source: self._add_input(
                graph, f"element{i}", source[0].meta["val"].select(source[1], 0)
            )
            for i, source in enumerate(self.sources)
        }
        for i, (before, now) in enumerate(self._body.past.items()):
            made[before] = self._add_input(graph, f"state{i}", now.meta["val"])
        for i, constant in enumerate(self.constants):
            made[constant] = self._add_input(graph, f"weight{i}", constant.meta["val"])
        for node, pick in self._picks.items():
            element = elements[pick.source]
            if pick.keeps_axis:
                element = insert(element, _ATEN.unsqueeze.default, (element, pick.dim))
            made[node] = element
        for node in self._body.nodes:
            args, kwargs = fx.map_arg((node.args, node.kwargs), made.__getitem__)
            target: Any = node.target
            if target in (_ATEN.reshape.default, _ATEN.expand.default):
                # Without time the first axis is the batch or a product that begins with it; else
                # the rules refuse the body.
                args = (args[0], [-1, *node.meta["val"].shape[1:]])  # type: ignore[index]
            made[node] = insert(next(iter(elements.values())), target, args, kwargs)  # type: ignore[arg-type]
            made[node].meta["origin"] = node.meta["origin"]
        graph.output(tuple(made[node] for node in self.results))
        module = fx.GraphModule(nn.Module(), graph)
        carried = [self.results.index(now) for now in self._body.past.values()]
        return Scan(module, len(self.sources), carried, self._body.fill)

    def _add_input(self, graph: fx.Graph, name: str, value: Any) -> fx.Node:
        made = graph.placeholder(name)
        made.meta = {"origin": self.example.meta["origin"], "val": value}
        return made


def _move_to_front(x: fx.Node, dim: int) -> fx.Node:
    """The value with time at axis 1."""
    if dim == 1:
        return x
    order = [0, dim, *(d for d in range(1, x.meta["val"].dim()) if d != dim)]
    return insert(x, _ATEN.permute.default, (x, order))


def _repeat_constant(clip_graph: fx.GraphModule, node: fx.Node) -> fx.Node:
    """Read a constant at the position of the scan.

    It gets a new name, since names from passes depend on the frame in which the constant was found.
    """
    names = [name for name, _ in clip_graph.named_buffers(remove_duplicate=False)]
    number = sum(name.startswith("loop_constant") for name in names)
    tensor = clip_graph.get_buffer(str(node.target))
    return insert_constant(clip_graph, node, f"loop_constant{number}", tensor)


def _take_result(made: fx.Node, scan: Scan, result: int) -> fx.Node:
    """One result (N, T, …) of a scan."""
    if len(scan.shapes) == 1:
        return made
    part = insert(made, _ATEN.slice.Tensor, (made, 2, *scan.spans[result]))
    if scan.can_concatenate:
        return part
    sizes = [-1, made.meta["val"].shape[1], *scan.shapes[result]]
    return insert(made, _ATEN.reshape.default, (part, sizes))


def _gather(collector: fx.Node, value: fx.Node) -> fx.Node:
    """A collector's result, computed from the elements of a value (N, T, …)."""
    shape = collector.meta["val"].shape
    args = arguments(collector)
    dim = args["dim"] % len(shape)
    if value.meta["val"].dim() > len(shape) and shape[dim] == len(args["tensors"]):
        value = insert(value, _ATEN.squeeze.dims, (value, [dim + 1]))
    if dim != 1:
        order = [d for d in range(value.meta["val"].dim()) if d != 1]
        order.insert(dim, 1)
        value = insert(value, _ATEN.permute.default, (value, order))
    if value.meta["val"].dim() > len(shape):
        value = insert(value, _ATEN.reshape.default, (value, [-1, *shape[1:]]))
    return value
