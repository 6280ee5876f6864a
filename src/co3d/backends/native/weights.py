"""Packs weights in the order in which the kernels read them: by vectors of output channels."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from co3d.backends.native.memory import HugePageAllocator


class WeightPacker:
    """Packs weights, once for all graphs that share them.

    Args:
        allocator: allocates memory for the packed weights.

    Attributes:
        lanes: float32 numbers in a vector register.
        dense_depth: how many neighbouring input channels one instruction of a dense convolution
            multiplies and sums: 2 in bfloat16, 1 in float32.
        depthwise_depth: the same for a depthwise convolution, which takes frames of one channel
            together.
        has_amx: whether AMX's tile registers compute dense convolutions in bfloat16.
    """

    def __init__(
        self, allocator: HugePageAllocator, lanes: int, dense_depth: int, depthwise_depth: int
    ) -> None:
        self._allocator = allocator
        self.lanes = lanes
        self.dense_depth, self.depthwise_depth = dense_depth, depthwise_depth
        # Only processors with AMX multiply bfloat16 in dense kernels and float32 in depthwise ones
        # (factor.hpp).
        self.has_amx = dense_depth > depthwise_depth
        self._packed: dict[object, tuple[Sequence[Tensor], Tensor]] = {}

    def pack_dense(self, weight: Tensor, channels: Sequence[int]) -> Tensor:
        """Weights of a dense convolution over several sources, as `product.hpp` reads them.

        Args:
            weight: (out, in, height, width).
            channels: of each source; their sum is `in`.

        Returns:
            (vectors, steps, lanes, depth). Steps are the inputs in the order in which the kernel
            gathers them: source by source, then pixel by pixel of the kernel, then by channel.
        """

        def pack() -> Tensor:
            parts = weight.split(list(channels), dim=1)
            flat = torch.cat([part.permute(0, 2, 3, 1).flatten(1) for part in parts], 1)
            padded = torch.nn.functional.pad(flat, (0, -flat.shape[1] % self.dense_depth))
            steps = padded.unflatten(1, (-1, self.dense_depth))
            packed = pad_channels(steps, self.lanes, 0).transpose(1, 2)
            return packed.to(choose_dtype(self.dense_depth))

        return self._once(("dense", *channels), [weight], pack)

    def pack_nchw(self, weight: Tensor) -> Tensor:
        """Weights of a dense convolution of a frame, as `nchw.hpp` reads them.

        Args:
            weight: (out, in, height, width).

        Returns:
            (vectors, in * height * width, lanes), of floats.
        """

        def pack() -> Tensor:
            return pad_channels(weight.flatten(1), self.lanes, 0).transpose(1, 2).float()

        return self._once(("nchw",), [weight], pack)

    def pack_depthwise(self, results: Sequence[Sequence[Tensor]]) -> Tensor:
        """Weights of depthwise convolutions, one per source, as `depthwise.hpp` reads them.

        Args:
            results: per sum of the same sources, per source: (channels, height, width).

        Returns:
            (sums, vectors, groups, height, width, lanes, depth), where a group is `depth` sources
            that one instruction takes.
        """

        def pack() -> Tensor:
            depth = self.depthwise_depth
            stacked = torch.stack([torch.stack([*weights]) for weights in results])
            missing = -stacked.shape[1] % depth
            padded = torch.nn.functional.pad(stacked, (0, 0, 0, 0, 0, 0, 0, missing))
            groups = pad_channels(padded, self.lanes, 2).unflatten(1, (-1, depth))
            return groups.permute(0, 3, 1, 5, 6, 4, 2).to(choose_dtype(depth))

        flat = [weight for weights in results for weight in weights]
        return self._once(("depthwise", len(results)), flat, pack)

    def pack_bias(self, bias: Tensor | None, channels: int) -> Tensor:
        """Pack a bias (channels,) as (vectors, lanes); zeros for None."""
        given = torch.zeros(channels) if bias is None else bias
        return pad_channels(given, self.lanes, 0).float().cpu().contiguous()

    def _once(
        self, kind: tuple[object, ...], sources: Sequence[Tensor], pack: Callable[[], Tensor]
    ) -> Tensor:
        # The address alone is no key: a square matrix and its transpose begin at the same one.
        key = (kind, *[(x.data_ptr(), x.shape, x.stride(), x.dtype) for x in sources])
        if key not in self._packed:
            # The sources are kept alive, so that no other tensor gets their addresses.
            packed = pack()
            kept = self._allocator.take(packed.numel() * packed.itemsize).view(packed.dtype)
            self._packed[key] = (sources, kept.view(packed.shape).copy_(packed))
        return self._packed[key][1]


def choose_dtype(depth: int) -> torch.dtype:
    """The dtype of weights for instructions that take `depth` inputs at once."""
    return torch.bfloat16 if depth > 1 else torch.float32


def pad_channels(tensor: Tensor, lanes: int, axis: int) -> Tensor:
    """Split an axis into vectors of `lanes`: (…, channels, …) to (…, vectors, lanes, …).

    Where the channels are no multiple of the lanes, the last vector overlaps the one before it; a
    single vector of fewer channels is padded with zeros.
    """
    channels = tensor.shape[axis]
    if channels < lanes:
        shape = list(tensor.shape)
        shape[axis] = lanes - channels
        padded = torch.cat([tensor, tensor.new_zeros(shape)], axis)
        return padded.unflatten(axis, (1, lanes))
    starts = torch.arange(0, channels, lanes).clamp(max=channels - lanes)
    index = (starts[:, None] + torch.arange(lanes)).flatten()
    return tensor.index_select(axis, index).unflatten(axis, (len(starts), lanes))
