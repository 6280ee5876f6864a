"""Frames as the native backend takes them."""

import pytest
import torch

from co3d.backends.executor import copy_map
from co3d.backends.native.executor import NativeExecutor


@pytest.mark.parametrize("size", [(1, 3, 224, 224), (3, 3, 7, 13), (2, 3, 8, 8), (1, 3, 1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_frames_are_those_that_pytorch_copies(size, dtype):
    executor = NativeExecutor("any", dtype, threads=2)
    frame = torch.randn(size)
    taken, expected = executor.take_frames([frame])[0], copy_map(frame, executor)
    assert taken.dtype == dtype
    assert taken.stride() == expected.stride()
    assert torch.equal(taken, expected)


@pytest.mark.parametrize(
    "frame",
    [
        torch.randn(2, 3, 6, 8, dtype=torch.float64),
        torch.randn(2, 3, 8, 6).transpose(2, 3),
        torch.randn(2, 3, 6, 8).to(memory_format=torch.channels_last),
        torch.randn(2, 4, 6, 8),
        torch.randn(2, 3),
    ],
    ids=["float64", "transposed", "channels last", "four channels", "no map"],
)
def test_other_frames_are_left_to_pytorch(frame):
    executor = NativeExecutor("any", torch.float32, threads=2)
    taken = executor.take_frames([frame])[0]
    assert torch.equal(taken, frame.float())
    assert taken.data_ptr() != frame.data_ptr()
