"""What keeps Triton's kernels from running here, found out without importing it."""

import os
import shutil

import torch

from co3d.backends.packages import is_installed


def find_obstacle() -> str | None:
    """Why there are no kernels of ours for GPUs, and what to do; None where there are."""
    if not is_installed("triton"):
        return "the package triton is not installed; get it with: pip install 'co3d[triton]'"
    if torch.version.hip is not None:
        return "the triton backend needs an NVIDIA GPU, and this PyTorch is for AMD's; use 'torch'"
    names = (os.environ.get("CC", ""), "gcc", "clang", "cc")
    if not any(name and shutil.which(name) for name in names):
        return (
            "triton has no C compiler, with which it builds what starts its kernels; install gcc "
            "or clang, name one in CC, or use backend 'torch'"
        )
    return None
