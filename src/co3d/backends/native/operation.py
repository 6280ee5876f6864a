"""One operation of a step program, as a C struct for the kernels."""

import ctypes
from collections.abc import Sequence
from enum import IntEnum

from co3d.backends.fusion.groups import MOST_ADDITIONAL, MOST_SOURCES

MOST_PREFETCHES = 8
NONE = -1


class Kind(IntEnum):
    """What an operation does; the order of kernels/operation.hpp."""

    CONVOLVE = 0
    SUM_DEPTHWISE = 1
    MEAN = 2
    SELECT = 3
    MAX_POOL = 4


# fmt: off
_NUMBERS = (
    "kind", "batch", "height", "width", "out_height", "out_width",
    "kernel_height", "kernel_width", "stride_y", "stride_x",
    "padding_y", "padding_x", "dilation_y", "dilation_x",
    "in_channels", "out_channels", "activation", "source_activation",
    "weight", "bias", "residual", "gate", "out", "sums", "is_float_result", "is_nchw",
    "source_count",
)
# fmt: on


class Operation(ctypes.Structure):
    """The struct of kernels/operation.hpp, field by field; buffer indices default to `NONE`."""

    _fields_ = [
        *[(name, ctypes.c_int32) for name in _NUMBERS],
        ("sources", ctypes.c_int32 * MOST_SOURCES),
        ("source_channels", ctypes.c_int32 * MOST_SOURCES),
        ("added_count", ctypes.c_int32),
        ("added", ctypes.c_int32 * MOST_ADDITIONAL),
        ("additional_count", ctypes.c_int32),
        ("additional", ctypes.c_int32 * MOST_ADDITIONAL),
        ("prefetch_count", ctypes.c_int32),
        ("prefetch", ctypes.c_int32 * MOST_PREFETCHES),
        ("prefetch_bytes", ctypes.c_int32 * MOST_PREFETCHES),
        ("fill", ctypes.c_float),
        ("scale", ctypes.c_float),
    ]

    def __init__(self, kind: Kind, sources: Sequence[int], channels: Sequence[int]) -> None:
        """Describe a 1x1 operation on source buffers that have these numbers of channels."""
        super().__init__(kind=kind, source_count=len(sources))
        for name in ("weight", "bias", "residual", "gate", "out", "sums"):
            setattr(self, name, NONE)
        for name in ("kernel_height", "kernel_width", "stride_y", "stride_x", "dilation_y"):
            setattr(self, name, 1)
        self.dilation_x = 1
        self.scale = 1.0
        for i, (source, count) in enumerate(zip(sources, channels, strict=True)):
            self.sources[i], self.source_channels[i] = source, count
