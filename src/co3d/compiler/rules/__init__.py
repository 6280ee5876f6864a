"""Rules by operator family; importing this package registers them all."""

from co3d.compiler.rules import (
    along_axes,
    conv,
    crop,
    cumulative,
    einsum,
    framewise,
    global_pool,
    linear,
    pointwise,
    pool,
    recompute,
    resize,
    scan,
    shape,
    sliding,
    statistics,
    tap_sum,
    transposed,
)
from co3d.compiler.rules.registry import Context, Lowering, UnsupportedError, Use, find_rule

# Those that know of time which is folded into another axis than the batch.
FOLD_AWARE = {
    shape.lower_reshape,
    shape.lower_permute,
    pointwise.lower_pointwise,
    linear.lower_linear,
    conv.lower_conv,
    crop.lower_slice,
    recompute.lower_collect,
}

__all__ = [
    "FOLD_AWARE",
    "Context",
    "Lowering",
    "UnsupportedError",
    "Use",
    "along_axes",
    "conv",
    "crop",
    "cumulative",
    "einsum",
    "find_rule",
    "framewise",
    "global_pool",
    "linear",
    "pointwise",
    "pool",
    "recompute",
    "resize",
    "scan",
    "shape",
    "sliding",
    "statistics",
    "tap_sum",
    "transposed",
]
