"""Float32 without shortcuts for a comparison."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_float32() -> Iterator[None]:
    """No TensorFloat-32, which PyTorch by default lets cuDNN's convolutions and recurrences use.

    Matrix products take it only in a program that has asked for it.
    """
    cudnn = torch.backends.cudnn
    with warnings.catch_warnings():
        # Some versions ask for newer settings here; but those do not go with the export to ONNX,
        # which reads this one.
        warnings.simplefilter("ignore")
        before = cudnn.allow_tf32
        cudnn.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32 = before
