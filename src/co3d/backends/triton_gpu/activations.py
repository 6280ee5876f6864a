"""Activation functions in kernels, by the numbers of `co3d.backends.fusion.groups.Activation`."""

import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]


@triton.jit
def activate(x, KIND: tl.constexpr):
    """Apply an activation to floats; NaN propagates."""
    if KIND == 1:
        x = tl.where(x < 0, 0.0, x)
    elif KIND == 2:
        x = x / (1 + tl.exp(-x))
    elif KIND == 3:
        x = 1 / (1 + tl.exp(-x))
    return x
