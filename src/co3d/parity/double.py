"""Copies a network to double precision, including the casts and tensors of its forward."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_any, tree_map

from co3d.compiler.capture import ClipShape

_LOW = {torch.float32, torch.float16, torch.bfloat16}
_CASTS = {Tensor.float, Tensor.half, Tensor.bfloat16}


def copy_in_double(network: nn.Module, shapes: Sequence[ClipShape]) -> tuple[nn.Module, bool]:
    """A copy of a network on the CPU in double precision.

    Where its forward casts (`x.float()`) or makes tensors in single precision, the copy makes
    double ones. Otherwise it would mix precisions, or hide differences by rounding.

    Args:
        network: it is not changed.
        shapes: (C, T, H, W) of its clips, one per input.

    Returns:
        The copy, and whether its forward casts.
    """
    copied = copy.deepcopy(network).eval().to("cpu", torch.float64)
    casts = "forward" not in vars(copied) and _makes_singles(copied, shapes)
    if casts:
        copied.forward = MethodType(_run_in_double, copied)
    return copied, casts


def _makes_singles(network: nn.Module, shapes: Sequence[ClipShape]) -> bool:
    """Whether the forward of a double-precision network makes single precision, or fails on it."""
    watch = _SinglePrecisionWatch()
    if _runs(network, shapes, watch):
        return watch.found
    return watch.found or _runs(network, shapes, _DoubleMode())


def _runs(network: nn.Module, shapes: Sequence[ClipShape], mode: TorchFunctionMode) -> bool:
    """Whether a network runs in a mode, on fake clips without data."""
    probe = copy.deepcopy(network)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), mode:
        try:
            probe(*(torch.zeros((1, *shape), dtype=torch.float64) for shape in shapes))
        except Exception:  # noqa: BLE001 - of any type; `capture` reports it later
            return False
    return True


@contextmanager
def doubles_by_default(*, wanted: bool) -> Iterator[None]:
    """Make float64 the default dtype, if wanted.

    It must also be the default while a copy that casts is captured, because `torch.export` checks
    the dtypes of tensors that are made without one.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64 if wanted else before)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _run_in_double(network: nn.Module, *clips: Tensor) -> Any:
    with doubles_by_default(wanted=True), _DoubleMode():
        return type(network).forward(network, *clips)


def _is_single(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype in _LOW


class _SinglePrecisionWatch(TorchFunctionMode):
    """Notes whether any function makes a floating tensor of less than double precision."""

    found = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a function, and check the dtype of its result."""
        del types
        result = func(*args, **(kwargs or {}))
        self.found |= tree_any(_is_single, result)
        return result


class _DoubleMode(TorchFunctionMode):
    """Converts floating tensors and dtypes in the arguments of functions to double precision."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a function on converted arguments."""
        del types
        if func in _CASTS:
            func = Tensor.double

        def lift(value: Any) -> Any:
            if value in _LOW if isinstance(value, torch.dtype) else _is_single(value):
                return torch.float64 if isinstance(value, torch.dtype) else value.double()
            return value

        given, named = tree_map(lift, args), tree_map(lift, dict(kwargs or {}))
        return func(*given, **named)
