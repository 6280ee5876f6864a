"""Write shifts along an axis as pads: zeros beside a slice, or a slice written into zeros.

Temporal shift modules (arXiv:1811.08383) come in both spellings.
"""

from typing import Any

import torch
from torch import fx

from co3d.compiler.insertion import insert, replace
from co3d.compiler.passes.result import PassResult
from co3d.compiler.rules.registry import arguments

_ATEN = torch.ops.aten
_FILLED = {
    _ATEN.zeros.default: 0.0,
    _ATEN.zeros_like.default: 0.0,
    _ATEN.ones.default: 1.0,
    _ATEN.ones_like.default: 1.0,
}


def write_as_pads(clip_graph: fx.GraphModule) -> PassResult:
    """Replace writes into slices by concatenations, and concatenated constants by pads."""
    writer, changed = _PadWriter(clip_graph), False
    for node in list(clip_graph.graph.nodes):
        if _is_zero(node):
            with clip_graph.graph.inserting_before(node):
                replace(node, insert(node, _ATEN.zeros_like.default, (node.args[0],)))
            changed = True
        elif node.target is _ATEN.copy.default:
            source = node.args[1]
            if source.meta["val"].shape == node.meta["val"].shape:
                node.replace_all_uses_with(source)
                changed = True
    for node in list(clip_graph.graph.nodes):
        if node.target is _ATEN.slice_scatter.default and not writer.is_inner(node):
            changed |= writer.write_scatter(node)
        elif node.target is _ATEN.cat.default:
            changed |= writer.write_cat(node)
    return PassResult(clip_graph.graph.eliminate_dead_code() or changed)


def _is_zero(node: fx.Node) -> bool:
    """Whether a node says x - x or x · 0, as networks do that were made for other frameworks."""
    if node.target is _ATEN.sub.Tensor:
        return node.args[0] is node.args[1] and not node.kwargs
    return node.target is _ATEN.mul.Tensor and node.args[1] in (0, 0.0)


class _PadWriter:
    def __init__(self, clip_graph: fx.GraphModule) -> None:
        self._clip_graph = clip_graph
        self._graph = clip_graph.graph
        self._found: dict[tuple[fx.Node, Any], float | None] = {}

    def is_inner(self, node: fx.Node) -> bool:
        """Whether a scatter is the inner one of two that write one box: the outer one says all."""
        return bool(node.users) and all(
            user.target is _ATEN.slice_scatter.default
            and arguments(user)["src"] is node
            and self._unnest(user)[1] is not node
            for user in node.users
        )

    def write_scatter(self, node: fx.Node) -> bool:
        """Write base[start:end] = x, and base[a:b, c:d] = x, which is two scatters in one.

        Returns:
            Whether it could.
        """
        base, x, box = self._unnest(node)
        rank = len(base.meta["val"].shape)
        if box is None:
            return False
        with self._graph.inserting_before(node):
            written = self._write_box(node, base, x, {d % rank: box[d] for d in box})
        return self._replace(node, written)

    def write_cat(self, node: fx.Node) -> bool:
        """Write cat([0, x, 0]) as pad(x).

        Returns:
            Whether it could.
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
            # The slice that is written into must be a slice of the same base at the same place.
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
        """x at its place in base: padded where base is constant there, else between its parts."""
        shape = base.meta["val"].shape
        whole = {d for d, (start, end) in box.items() if (start, end) == (0, shape[d])}
        dims = [d for d in sorted(box, reverse=True) if d not in whole]
        if not dims:
            return x
        value = self._uniform(base, {})
        if value is not None:
            return self._pad(node, x, {d: (box[d][0], shape[d] - box[d][1]) for d in dims}, value)
        # First along an axis at whose place base is constant, else from the last axis to the first.
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
        values = [self._uniform(part, {}) for part in parts]
        moving = [part for part, value in zip(parts, values, strict=True) if value is None]
        fills = {value for value in values if value is not None}
        if len(moving) != 1 or len(fills) != 1:
            return None
        place = parts.index(moving[0])
        sizes = [part.meta["val"].shape[dim] for part in parts]
        pads = {dim: (sum(sizes[:place]), sum(sizes[place + 1 :]))}
        return self._pad(node, moving[0], pads, fills.pop())

    def _uniform(self, node: Any, within: dict[int, tuple[int, int]]) -> float | None:
        """The one value that a node has everywhere (inside a box); None where it varies.

        It is found once for each node and box, as the pass changes no value: concatenations of
        concatenations would be gone through again for each of them.
        """
        key = (node, tuple(sorted(within.items())))
        if key not in self._found:
            self._found[key] = self._find_uniform(node, within)
        return self._found[key]

    def _find_uniform(self, node: Any, within: dict[int, tuple[int, int]]) -> float | None:
        shape = node.meta["val"].shape
        if node.op == "get_attr":
            tensor = self._clip_graph.get_buffer(str(node.target))
            if tensor.numel() and bool((tensor == tensor.flatten()[0]).all()):
                return float(tensor.flatten()[0])
            return None
        if node.target in (_ATEN.full.default, _ATEN.full_like.default):
            return float(node.args[1])
        if node.target in _FILLED:
            return _FILLED[node.target]
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
