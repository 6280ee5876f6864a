"""Rules by operator family; importing this package registers them all."""

from co3d.compiler.rules import (
    conv,
    crop,
    framewise,
    global_pool,
    linear,
    pointwise,
    pool,
    recompute,
    resize,
    shape,
    sliding,
    tap_sum,
    transposed,
)
from co3d.compiler.rules.registry import Context, Lowering, UnsupportedError, Use, find_rule

__all__ = [
    "Context",
    "Lowering",
    "UnsupportedError",
    "Use",
    "conv",
    "crop",
    "find_rule",
    "framewise",
    "global_pool",
    "linear",
    "pointwise",
    "pool",
    "recompute",
    "resize",
    "shape",
    "sliding",
    "tap_sum",
    "transposed",
]
