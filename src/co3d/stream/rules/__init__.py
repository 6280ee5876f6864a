"""Rules by operator family; importing this package registers them all."""

from co3d.stream.rules import conv, crop, head, pointwise, pool, shape
from co3d.stream.rules.registry import Context, Lowering, UnsupportedError, Use, find_rule

__all__ = [
    "Context",
    "Lowering",
    "UnsupportedError",
    "Use",
    "conv",
    "crop",
    "find_rule",
    "head",
    "pointwise",
    "pool",
    "shape",
]
