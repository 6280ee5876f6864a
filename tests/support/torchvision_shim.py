"""Let torchvision's pure-Python video models import beside a torch that it was not compiled for."""

import importlib.util
from pathlib import Path

import torch

# What torchvision attaches fake kernels and gradients to when it is imported. It never calls them,
# so that their arguments do not matter; that they exist does.
_OPERATORS = (
    "nms",
    "qnms",
    *(
        prefix + name + suffix
        for name in ("roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d")
        for prefix, suffix in (("", ""), ("_", "_backward"))
    ),
)


def declare_operators() -> None:
    """Declare the operators of torchvision's compiled library, where that does not load.

    It links against one build of torch (CUDA, or CPU, of one version) and fails beside others.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or hasattr(torch.ops.torchvision, "nms"):
        return
    try:
        torch.ops.load_library(Path(spec.origin).with_name("_C.so"))
    except OSError:
        # A fragment lives as long as the operators, that is for ever, without being kept.
        for name in _OPERATORS:
            torch.library.define(f"torchvision::{name}", "(Tensor x) -> Tensor")
