"""Multiply-accumulates of one operator, by torch's own count."""

from typing import Any

import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default


def count_macs(node: fx.Node) -> int:
    """Multiply-accumulates of a node of the clip graph, for the whole exported batch.

    torch counts two operations per multiply-accumulate, and none for element-wise work.
    """
    target: Any = node.target
    if target is _ATTENTION:
        return _count_attention(node)
    if not _may_multiply(target):
        return 0
    with FakeTensorMode(allow_non_fake_inputs=True), FlopCounterMode(display=False) as counter:
        args, kwargs = fx.map_arg((node.args, node.kwargs), _empty_like)
        target(*args, **kwargs)
    return counter.get_total_flops() // 2


def _count_attention(node: fx.Node) -> int:
    """Count attention's multiply-accumulates; torch counts only some of its attention kernels."""
    queries, keys, values = (
        argument.meta["val"].shape  # type: ignore[union-attr]
        for argument in node.args[:3]
    )
    return queries.numel() * keys[-2] + queries[:-1].numel() * keys[-2] * values[-1]


def _may_multiply(target: Any) -> bool:
    """Whether torch counts an operator, or decomposes it into others that it may count."""
    packet = getattr(target, "overloadpacket", None)
    return packet is not None and (
        packet in flop_registry
        or torch._C._dispatch_has_kernel_for_dispatch_key(
            target.name(), "CompositeImplicitAutograd"
        )
    )


def _empty_like(node: fx.Node) -> Any:
    value = node.meta["val"]
    if not isinstance(value, torch.Tensor):
        return value
    return torch.empty(value.shape, dtype=value.dtype)
