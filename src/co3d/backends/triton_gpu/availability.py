"""Tells whether an installed Triton can run kernels on this machine, without importing it."""

import os
import shutil

import torch


def why_unavailable() -> str | None:
    """Why Triton cannot run co3d's kernels, and what to do; None where it can."""
    if torch.version.hip is not None:
        return "the triton backend needs an NVIDIA GPU, and this PyTorch is for AMD's; use 'torch'"
    names = (os.environ.get("CC", ""), "gcc", "clang", "cc")
    if not any(name and shutil.which(name) for name in names):
        return (
            "triton has no C compiler, with which it builds what starts its kernels; install gcc "
            "or clang, name one in CC, or use backend 'torch'"
        )
    return None
