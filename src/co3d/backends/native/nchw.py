"""Decides which frames kernels read in NCHW as given, which saves the copy to NHWC."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, fx

from co3d.backends.fusion.groups import Convolve, Group, list_read

# Kernels read frames in NCHW where one result has at most this many inputs. With 27 (3x3 pixels of
# three channels) X3D saves the copy to NHWC; with 147 (7x7) Slow is 2 % slower than with that copy.
MOST_INPUTS = 64


def is_nchw(frames: Tensor) -> bool:
    """Whether frames (slots, C, H, W) are float32 and in NCHW, not NHWC, in memory."""
    return (
        frames.dim() == 4
        and frames.dtype == torch.float32
        and frames.is_contiguous()
        and not frames.is_contiguous(memory_format=torch.channels_last)
    )


def can_read_nchw(
    frames: fx.Node, groups: Mapping[fx.Node, Group], inner: Collection[fx.Node]
) -> bool:
    """Whether all readers of these frames are convolutions that `nchw.hpp` can compute.

    Args:
        frames: an input.
        groups: the fused groups, by their last node.
        inner: the other nodes of groups. A node that is neither reads frames in NHWC.
    """
    readers = [group for group in groups.values() if frames in list_read(group)]
    if not all(user in groups or user in inner for user in frames.users):
        return False
    return bool(readers) and all(
        isinstance(group, Convolve)
        and list_read(group) == (frames,)
        and group.weight[0].numel() <= MOST_INPUTS
        and group.geometry["stride"][1] in (1, 2)
        for group in readers
    )
