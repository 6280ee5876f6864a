"""The allowlist of ATen operators that step graphs in files may call.

It has the operators of the compiler's rules, which steps or a fallback's reruns call, those that
torch tags as pointwise, and some more that networks use. It excludes operators that write to their
arguments, backward operators, operators that do not check indices or offsets (sparse and segment
reductions, embedding bags, as_strided), and operators that loop as often as an argument says
(polynomials of a degree). `measuring.py` checks the arguments of some others.
"""

from functools import cache
from typing import Any

import torch

from co3d.compiler.rules.framewise import FOLDED_OPERATORS
from co3d.compiler.rules.registry import list_targets

_FURTHER = frozenset(
    [
        "_cdist_forward",
        "_native_batch_norm_legit_no_training",
        "_unsafe_view",
        "addbmm",
        "addmm",
        "alias",
        "arange",
        "baddbmm",
        "broadcast_to",
        "cdist",
        "chunk",
        "clone",
        "contiguous",
        "conv2d",
        "conv3d",
        "convolution",
        "cosine_similarity",
        "detach",
        "diagonal",
        "dot",
        "dropout",
        "embedding",
        "expand_as",
        "eye",
        "fft_fft",
        "fft_ifft",
        "fft_irfft",
        "fft_rfft",
        "fill",
        "flatten",
        "full",
        "index",
        "index_put",
        "linspace",
        "meshgrid",
        "mm",
        "movedim",
        "mv",
        "narrow",
        "new_full",
        "new_ones",
        "new_zeros",
        "norm",
        "numel",
        "one_hot",
        "ones",
        "outer",
        "scalar_tensor",
        "scatter_reduce",
        "select_scatter",
        "slice_scatter",
        "split",
        "split_with_sizes",
        "stack",
        "std_mean",
        "sym_size",
        "tensor_split",
        "tile",
        "tril",
        "triu",
        "unbind",
        "unflatten",
        "unfold",
        "unsafe_chunk",
        "unsafe_split",
        "var_mean",
        "view",
        "view_as",
        "zeros",
    ]
)


def find_operator(name: str) -> Any:
    """The operator `aten.NAME` or `aten.NAME.OVERLOAD`; None if it is not allowed."""
    kind, _, rest = name.partition(".")
    packet_name, _, overload_name = rest.partition(".")
    if kind != "aten" or packet_name not in _list_allowed():
        return None
    packet = getattr(torch.ops.aten, packet_name)
    if not overload_name:
        # torch chooses the overload by the arguments; `list_keywords` excludes written ones.
        return packet
    if overload_name not in packet.overloads():
        return None
    overload = getattr(packet, overload_name)
    return None if overload._schema.is_mutable else overload


def list_keywords(operator: Any) -> set[str]:
    """The names of arguments that an operator reads and does not write to."""
    if isinstance(operator, torch._ops.OpOverloadPacket):
        schemas = [getattr(operator, name)._schema for name in operator.overloads()]
    else:
        schemas = [operator._schema]
    read = {a.name for schema in schemas for a in schema.arguments if not a.is_write}
    return read - {a.name for schema in schemas for a in schema.arguments if a.is_write}


@cache
def _list_allowed() -> frozenset[str]:
    ruled = {
        target._schema.name.partition("::")[2]
        for target in (*list_targets(), *FOLDED_OPERATORS)
        if isinstance(target, torch._ops.OpOverload)
    }
    return frozenset(ruled | _FURTHER | set(filter(_is_pointwise, dir(torch.ops.aten))))


def _is_pointwise(name: str) -> bool:
    packet = getattr(torch.ops.aten, name)
    if not isinstance(packet, torch._ops.OpOverloadPacket) or name.startswith("_"):
        return False
    tags = [getattr(packet, overload).tags for overload in packet.overloads()]
    return any(torch.Tag.pointwise in tag for tag in tags) and not (
        "backward" in name or name.endswith("_") or "polynomial" in name or name == "mvlgamma"
    )
