"""Rules by operator family; importing this package registers them all."""

from co3d.compiler.rules import (
    along_axes,
    conv,
    crop,
    einsum,
    framewise,
    global_pool,
    linear,
    pointwise,
    pool,
    recompute,
    shape,
    sliding,
    statistics,
    tap_sum,
    transposed,
)
from co3d.compiler.rules.registry import Context, Lowering, UnsupportedError, Use, find_rule

__all__ = [
    "Context",
    "Lowering",
    "UnsupportedError",
    "Use",
    "along_axes",
    "conv",
    "crop",
    "einsum",
    "find_rule",
    "framewise",
    "global_pool",
    "linear",
    "pointwise",
    "pool",
    "recompute",
    "shape",
    "sliding",
    "statistics",
    "tap_sum",
    "transposed",
]
