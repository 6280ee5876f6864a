"""How much a stream must remember, reckoned while a clip network runs as PyTorch code.

No graph, no compiler: a mode watches the functions that the network calls and notes, for every
value, how late it is and how far back it is read. With cumulative temporal stride s (which dense
rate makes a dilation of what follows):

    a convolution or pool of kt frames reads (kt - 1) · dilation · s frames back
    a depthwise convolution with a stride in space may remember its taps' results instead of their
        frames: that of the first tap (kt - 1) · dilation · s frames back, of the next one less
    a pool that is smaller in space than what it reads pools space first, and remembers that
    a pool over all of T elements reads (T - 1) · s frames back
    a sum or concatenation reads its earlier operands as much further back as the latest is later

A value that is read several times is kept once, as far back as the furthest reading.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

TIME = 2


@dataclass
class Timing:
    """When one value is ready, and how far back it is read."""

    value: Tensor  # kept, so that its id is not reused
    stride: int
    delay: int
    has_time: bool
    depth: int = 0

    @property
    def frame_elements(self) -> int:
        """Numbers in one element of one stream."""
        count = self.value.numel() // self.value.shape[0]
        return count // self.value.shape[TIME] if self.has_time else count


class StateLedger(TorchFunctionMode):
    """Watches a network that is run on one clip, in this mode."""

    def __init__(self, clip: Tensor) -> None:
        super().__init__()
        self._last_frame = clip.shape[TIME] - 1
        self._timings: dict[int, Timing] = {}
        self._all: list[Timing] = []
        self._note(clip, 1, 0, True)

    @property
    def state_elements(self) -> int:
        """Numbers that a stream carries from step to step."""
        return sum(timing.depth * timing.frame_elements for timing in self._all)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        known = [
            self._timings[id(leaf)]
            for leaf in tree_leaves((args, kwargs))
            if isinstance(leaf, Tensor) and id(leaf) in self._timings
        ]
        if not known or not isinstance(out, Tensor):
            return out
        if func is F.conv3d:
            self._convolve(out, known[0], args[1], *(size[0] for size in args[3:6]))
        elif func in (F.max_pool3d, F.avg_pool3d):
            options = dict(zip(("input", "kernel_size", "stride", "padding"), args, strict=False))
            options |= kwargs
            kernel = _time_size(options["kernel_size"])
            stride = _time_size(options.get("stride") or options["kernel_size"])
            padding = _time_size(options.get("padding") or 0)
            self._slide(out, self._pool_space(out, known[0]), kernel, stride, padding, 1)
        elif func is Tensor.index_select:
            (picked,) = known
            stride = picked.value.shape[TIME] // out.shape[TIME]
            self._note(out, picked.stride * stride, picked.delay, True)
        elif func is Tensor.mean and known[0].has_time and _means_over_time(args, kwargs):
            self._pool(out, known[0], args, kwargs)
        else:
            self._join(out, known)
        return out

    def _convolve(
        self, out: Tensor, read: Timing, weight: Tensor, stride: int, padding: int, dilation: int
    ) -> None:
        kernel = weight.shape[TIME]
        self._slide(out, read, kernel, stride, padding, dilation)
        frame, made = read.frame_elements, out.numel() // out.shape[0] // out.shape[TIME]
        if weight.shape[1] > 1 or stride > 1 or made * kernel / 2 >= frame:
            return
        read.depth = 0
        for tap in range(kernel - 1):
            result = Timing(out, read.stride, read.delay, True)
            result.depth = (kernel - 1 - tap) * dilation * read.stride
            self._all.append(result)

    def _pool_space(self, out: Tensor, read: Timing) -> Timing:
        """What a pool reads along time: the result of its pool in space, where that is smaller."""
        if out.numel() // out.shape[0] // out.shape[TIME] >= read.frame_elements:
            return read
        pooled = Timing(out, read.stride, read.delay, read.has_time)
        self._all.append(pooled)
        return pooled

    def _slide(
        self, out: Tensor, read: Timing, kernel: int, stride: int, padding: int, dilation: int
    ) -> None:
        reach = (kernel - 1) * dilation
        if read.has_time:
            read.depth = max(read.depth, reach * read.stride)
        delay = read.delay + max(0, reach - padding) * read.stride
        self._note(out, read.stride * stride, delay, read.has_time)

    def _pool(self, out: Tensor, read: Timing, args: Any, kwargs: Any) -> None:
        """The mean over space comes first, and is what is kept."""
        pooled = self._note(out, read.stride, read.delay, False)
        elements = read.value.shape[TIME]
        if pooled.frame_elements == read.frame_elements:
            read.depth = max(read.depth, (elements - 1) * read.stride)
        else:
            pooled.depth = (elements - 1) * read.stride

    def _join(self, out: Tensor, operands: list[Timing]) -> None:
        ready = [self._ready(operand) for operand in operands]
        for operand, tick in zip(operands, ready, strict=True):
            operand.depth = max(operand.depth, max(ready) - tick)
        latest = max(operands, key=self._ready)
        stride = math.lcm(*(operand.stride for operand in operands))
        delay = max(ready) - (0 if latest.has_time else self._last_position(stride))
        self._note(out, stride, delay, latest.has_time)

    def _ready(self, operand: Timing) -> int:
        """The delay of frames; for pooled values, when they are there for the whole clip."""
        start = 0 if operand.has_time else self._last_position(operand.stride)
        return start + operand.delay

    def _last_position(self, stride: int) -> int:
        return self._last_frame // stride * stride

    def _note(self, value: Tensor, stride: int, delay: int, has_time: bool) -> Timing:
        timing = Timing(value, stride, delay, has_time)
        self._timings[id(value)] = timing
        self._all.append(timing)
        return timing


def count_state_elements(network: nn.Module, clip: Tensor) -> int:
    """Numbers that a stream of this network must carry, for clips (1, C, T, H, W) like this one."""
    with torch.inference_mode(), StateLedger(clip) as ledger:
        network(clip)
    return ledger.state_elements


def _time_size(size: Any) -> int:
    return size if isinstance(size, int) else size[0]


def _means_over_time(args: Any, kwargs: Any) -> bool:
    dims = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return TIME in ((dims,) if isinstance(dims, int) else dims)
