"""Which frames kernels read as they are given, channel by channel."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, fx

from co3d.backends.fusion.groups import Convolve, Group, find_read

# Of one result. With 147 (7x7 pixels of three channels) Slow is 2 % slower than with frames laid
# out and readings side by side; with 27 X3D saves both copies.
MOST_READINGS = 64


def is_in_planes(frames: Tensor) -> bool:
    """Whether frames (slots, C, H, W) of floats lie channel by channel, and not pixel by pixel."""
    return (
        frames.dim() == 4
        and frames.dtype == torch.float32
        and frames.is_contiguous()
        and not frames.is_contiguous(memory_format=torch.channels_last)
    )


def can_read_planes(
    frames: fx.Node, groups: Mapping[fx.Node, Group], inner: Collection[fx.Node]
) -> bool:
    """Whether only convolutions read these frames, and such as `planes.hpp` knows.

    Args:
        frames: an input.
        groups: by the node that they end at.
        inner: the other nodes of groups; what is neither reads frames as maps.
    """
    readers = [group for group in groups.values() if frames in find_read(group)]
    if not all(user in groups or user in inner for user in frames.users):
        return False
    return bool(readers) and all(
        isinstance(group, Convolve)
        and find_read(group) == (frames,)
        and group.weight[0].numel() <= MOST_READINGS
        and group.geometry["stride"][1] in (1, 2)
        for group in readers
    )
