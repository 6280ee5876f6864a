"""Write shifts along an axis as pads: a slice concatenated with zeros, or written into zeros.

Implementations of temporal shift modules (arXiv:1811.08383) use both.
"""

from typing import Any

import torch
from torch import fx

from co3d.compiler.insertion import insert, insert_constant, replace
from co3d.compiler.passes.result import PassResult
from co3d.compiler.passes.uniform import filled_value
from co3d.compiler.rules.registry import arguments

_ATEN = torch.ops.aten


def write_as_pads(clip_graph: fx.GraphModule) -> PassResult:
    """Replace writes into slices by concatenations, and concatenated constants by pads."""
    writer, changed = _PadWriter(clip_graph), False
    for node in list(clip_graph.graph.nodes):
        if _is_zero(node):
            with clip_graph.graph.inserting_before(node):
                replace(node, insert(node, _ATEN.zeros_like.default, (node.args[0],)))
            changed = True
        elif node.target is _ATEN.copy.default:
            writer.write_copy(node)
            changed = True
        elif node.target in (_ATEN.fill.Scalar, _ATEN.fill.Tensor):
            changed |= writer.write_fill(node)
        elif node.target is _ATEN.select_scatter.default:
            writer.write_select_scatter(node)
            changed = True
    for node in list(clip_graph.graph.nodes):
        if node.target is _ATEN.slice_scatter.default and not writer.is_inner(node):
            changed |= writer.write_scatter(node)
        elif node.target is _ATEN.cat.default:
            changed |= writer.write_cat(node)
    return PassResult(clip_graph.graph.eliminate_dead_code() or changed)


def _is_zero(node: fx.Node) -> bool:
    """Whether a node is x - x or x · 0, as in networks ported from other frameworks."""
    if node.target is _ATEN.sub.Tensor:
        return node.args[0] is node.args[1] and not node.kwargs
    return node.target is _ATEN.mul.Tensor and node.args[1] in (0, 0.0)


class _PadWriter:
    def __init__(self, clip_graph: fx.GraphModule) -> None:
        self._clip_graph = clip_graph
        self._graph = clip_graph.graph
        self._found: dict[tuple[fx.Node, Any], float | None] = {}

    def write_copy(self, node: fx.Node) -> None:
        """Replace a copy into a whole value by its source."""
        over: Any = node.args[0]
        source: Any = node.args[1]
        with self._graph.inserting_before(node):
            if source.meta["val"].dtype != over.meta["val"].dtype:
                kind = {"dtype": over.meta["val"].dtype}
                source = insert(node, _ATEN._to_copy.default, (source,), kind)
            if source.meta["val"].shape != over.meta["val"].shape:
                sizes = list(over.meta["val"].shape)
                source = insert(node, _ATEN.expand.default, (source, sizes))
        replace(node, source)

    def write_fill(self, node: fx.Node) -> bool:
        """Replace an in-place fill by a uniform tensor.

        Returns:
            Whether that is possible.
        """
        value: Any = node.args[1]
        if isinstance(value, fx.Node):
            value = self._uniform(value, {}) if value.op == "get_attr" else None
        if value is None:
            return False
        with self._graph.inserting_before(node):
            made = insert(node, _ATEN.full_like.default, (node.args[0], value))
        replace(node, made)
        return True

    def write_select_scatter(self, node: fx.Node) -> None:
        """Write base[i] = x as base[i : i + 1] = x with one more axis."""
        args = arguments(node)
        shape = node.meta["val"].shape
        dim = args["dim"] % len(shape)
        index = args["index"] % shape[dim]
        with self._graph.inserting_before(node):
            source = insert(node, _ATEN.unsqueeze.default, (args["src"], dim))
            rest = (dim, index, index + 1)
            written = insert(node, _ATEN.slice_scatter.default, (args["self"], source, *rest))
        replace(node, written)

    def is_inner(self, node: fx.Node) -> bool:
        """Whether a scatter is the inner one of two that write one box, written with the outer."""
        return bool(node.users) and all(
            user.target is _ATEN.slice_scatter.default
            and arguments(user)["src"] is node
            and self._unnest(user)[1] is not node
            for user in node.users
        )

    def write_scatter(self, node: fx.Node) -> bool:
        """Replace base[start:end] = x, or base[a:b, c:d] = x, which is two nested scatters.

        Returns:
            Whether that is possible.
        """
        base, x, box = self._unnest(node)
        rank = len(base.meta["val"].shape)
        if box is None:
            return False
        with self._graph.inserting_before(node):
            written = self._write_box(node, base, x, {d % rank: box[d] for d in box})
        if written is not None and written.target is _ATEN.cat.default:
            replace(node, written)
            self.write_cat(written)
            return True
        return self._replace(node, written)

    def write_cat(self, node: fx.Node) -> bool:
        """Write cat([0, x, 0]) as pad(x), and add other constants to the pad.

        Returns:
            Whether that is possible.
        """
        args = arguments(node)
        parts, rank = list(args["tensors"]), len(node.meta["val"].shape)
        dim = args["dim"] % rank
        with self._graph.inserting_before(node):
            joined = self._join(node, parts, dim)
        return self._replace(node, joined)

    @staticmethod
    def _replace(node: fx.Node, written: fx.Node | None) -> bool:
        if written is not None:
            replace(node, written)
        return written is not None

    def _unnest(self, node: fx.Node) -> tuple[Any, Any, dict[int, tuple[int, int]] | None]:
        args = arguments(node)
        base, x, dim = args["self"], args["src"], args["dim"]
        box = {dim: _range(args, base)}
        inner = x
        while inner.target is _ATEN.slice_scatter.default:
            inner_args = arguments(inner)
            below = inner_args["self"]
            # The slice that is written into must be the same slice of the same base.
            cut = self._constant_or_slice(below, base, box)
            if not cut or inner_args["dim"] in box or inner_args["step"] != 1:
                break
            box[inner_args["dim"]] = _range(inner_args, below)
            inner = inner_args["src"]
        return base, inner, box if args["step"] == 1 else None

    def _constant_or_slice(
        self, below: fx.Node, base: fx.Node, box: dict[int, tuple[int, int]]
    ) -> bool:
        if self._uniform(below, {}) is not None and self._uniform(base, {}) is not None:
            return self._uniform(below, {}) == self._uniform(base, {})
        wanted, source = dict(box), below
        while source.target is _ATEN.slice.Tensor and source is not base:
            args = arguments(source)
            if wanted.pop(args["dim"], None) != _range(args, args["self"]):
                return False
            source = args["self"]
        return source is base and not wanted

    def _write_box(
        self, node: fx.Node, base: fx.Node, x: fx.Node, box: dict[int, tuple[int, int]]
    ) -> fx.Node | None:
        """Insert x into base: as a pad where base is uniform, else concatenated with its parts."""
        shape = base.meta["val"].shape
        whole = {d for d, (start, end) in box.items() if (start, end) == (0, shape[d])}
        dims = [d for d in sorted(box, reverse=True) if d not in whole]
        if not dims:
            return x
        value = self._uniform(base, {})
        if value is not None:
            return self._pad(node, x, {d: (box[d][0], shape[d] - box[d][1]) for d in dims}, value)
        # First along an axis along which base is uniform, else from the last axis to the first.
        uniform = [d for d in dims if self._uniform(base, {d: box[d]}) is not None]
        if len(uniform) > 1 and self._uniform(base, {uniform[0]: box[uniform[0]]}) == 0:
            # One of them may be time, along which nothing can be joined: a sum needs no choice.
            pads = {d: (box[d][0], shape[d] - box[d][1]) for d in dims}
            return insert(node, _ATEN.add.Tensor, (base, self._pad(node, x, pads, 0.0)))
        dim = uniform[0] if uniform else dims[0]
        start, end = box[dim]
        rest = {d: box[d] for d in dims if d != dim}
        inner_value = self._uniform(base, {dim: (start, end)})
        if rest and inner_value is None:
            inner = self._write_box(node, self._slice(node, base, dim, start, end), x, rest)
        elif rest:
            pads = {d: (box[d][0], shape[d] - box[d][1]) for d in rest}
            inner = self._pad(node, x, pads, inner_value or 0.0)
        else:
            inner = x
        if inner is None:
            return None
        parts = [
            self._slice(node, base, dim, *span)
            for span in ((0, start), (end, shape[dim]))
            if span[0] < span[1]
        ]
        parts.insert(0 if start == 0 else 1, inner)
        return insert(node, _ATEN.cat.default, (parts, dim))

    def _join(self, node: fx.Node, parts: list[fx.Node], dim: int) -> fx.Node | None:
        """Concatenate parts with the constants as pads; None without constants or without others.

        [x, 0, 0, y, c]     ->  cat([pad(x), pad(y)]) + [0, 0, 0, 0, c]
        """
        is_fixed = [self._uniform(p, {}) is not None or p.op == "get_attr" for p in parts]
        if all(is_fixed) or not any(is_fixed):
            return None
        sizes = [part.meta["val"].shape[dim] for part in parts]
        fills = {self._uniform(p, {}) for p, fixed in zip(parts, is_fixed, strict=True) if fixed}
        if is_fixed.count(False) == len(fills) == 1 and None not in fills:
            place = is_fixed.index(False)
            pads = {dim: (sum(sizes[:place]), sum(sizes[place + 1 :]))}
            return self._pad(node, parts[place], pads, fills.pop() or 0.0)
        joined: list[fx.Node] = []
        terms: list[fx.Node] = []
        waiting: list[int] = []  # constants before the first other part
        for i, part in enumerate(parts):
            if not is_fixed[i]:
                joined.append(part)
            elif not joined:
                waiting.append(i)
                continue
            before, after = ([*reversed(waiting)], []) if not is_fixed[i] else ([], [i])
            waiting = []
            for j in (*before, *after):
                value = self._uniform(parts[j], {})
                if value is None:
                    term = self._place_constant(node, parts[j], dim, sum(sizes[:j]), sum(sizes))
                    if term is None:
                        return None
                    terms.append(term)
                pads = {dim: (sizes[j], 0) if j in before else (0, sizes[j])}
                joined[-1] = self._pad(node, joined[-1], pads, value or 0.0)
        written = joined[0]
        if len(joined) > 1:
            written = insert(node, _ATEN.cat.default, (joined, dim))
        for term in terms:
            written = insert(node, _ATEN.add.Tensor, (written, term))
        return written

    def _place_constant(
        self, node: fx.Node, part: fx.Node, dim: int, start: int, whole: int
    ) -> fx.Node | None:
        """A constant with zeros around it along an axis, and size one along axes of equal rows."""
        tensor = self._clip_graph.get_buffer(str(part.target))
        if not tensor.is_floating_point() or part.meta["val"].dtype != node.meta["val"].dtype:
            return None
        for axis in range(tensor.dim()):
            first = tensor.narrow(axis, 0, 1)
            if axis != dim and bool((tensor == first).all()):
                tensor = first
        if tensor.shape[0] > 1 or dim == 0:
            return None
        flat = [0, 0] * (tensor.dim() - 1 - dim) + [start, whole - start - tensor.shape[dim]]
        padded = torch.nn.functional.pad(tensor, flat)
        name = f"{node.name}_constant{start}"
        return insert_constant(self._clip_graph, node, name, padded)

    def _uniform(self, node: Any, within: dict[int, tuple[int, int]]) -> float | None:
        """The one value that a node has everywhere (inside a box); None where it varies.

        Cached per node and box: nested concatenations would be searched many times. That is safe,
        since the pass changes no value.
        """
        key = (node, tuple(sorted(within.items())))
        if key not in self._found:
            self._found[key] = self._find_uniform(node, within)
        return self._found[key]

    def _find_uniform(self, node: Any, within: dict[int, tuple[int, int]]) -> float | None:
        shape = node.meta["val"].shape
        value = filled_value(self._clip_graph, node)
        if value is not None:
            return value
        if node.target is _ATEN.constant_pad_nd.default:
            args = arguments(node)
            flat, value = args["pad"], args["value"] or 0.0
            for i in range(len(flat) // 2):
                dim = len(shape) - 1 - i
                start, end = within.get(dim, (0, shape[dim]))
                if end <= flat[2 * i] or start >= shape[dim] - flat[2 * i + 1]:
                    return float(value)
        if node.target is _ATEN.cat.default:
            args = arguments(node)
            dim, first = args["dim"] % len(shape), 0
            found = set()
            low, high = within.get(dim, (0, shape[dim]))
            for part in args["tensors"]:
                size = part.meta["val"].shape[dim]
                if first < high and low < first + size:
                    span = (max(low - first, 0), min(high - first, size))
                    found.add(self._uniform(part, {**within, dim: span}))
                first += size
            return found.pop() if len(found) == 1 else None
        if node.target is _ATEN.slice.Tensor:
            args = arguments(node)
            dim = args["dim"] % len(shape)
            start, _ = _range(args, args["self"])
            low, high = within.get(dim, (0, shape[dim]))
            if args["step"] == 1:
                return self._uniform(args["self"], {**within, dim: (start + low, start + high)})
        return None

    def _slice(self, node: fx.Node, x: fx.Node, dim: int, start: int, end: int) -> fx.Node:
        return insert(node, _ATEN.slice.Tensor, (x, dim, start, end))

    def _pad(
        self, node: fx.Node, x: fx.Node, pads: dict[int, tuple[int, int]], value: float
    ) -> fx.Node:
        rank = len(x.meta["val"].shape)
        flat = [n for d in range(rank - 1, min(pads) - 1, -1) for n in pads.get(d, (0, 0))]
        return insert(node, _ATEN.constant_pad_nd.default, (x, flat, value))


def _range(args: dict[str, Any], x: fx.Node) -> tuple[int, int]:
    size = x.meta["val"].shape[args["dim"]]
    start, end, _ = slice(args["start"], args["end"]).indices(size)
    return start, end
