"""Disables TensorFloat-32 during a comparison."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_float32() -> Iterator[None]:
    """Disable TensorFloat-32, which cuDNN's convolutions and recurrences use by default.

    Matrix products use it only if the program has enabled it.
    """
    cudnn = torch.backends.cudnn
    with warnings.catch_warnings():
        # Some versions of PyTorch warn that this setting is deprecated. The newer ones do not work
        # with the export to ONNX, which reads this one.
        warnings.simplefilter("ignore")
        before = cudnn.allow_tf32
        cudnn.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32 = before
