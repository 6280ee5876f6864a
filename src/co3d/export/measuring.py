"""Runs graphs on fake tensors, to check what they would allocate and which arguments are unsafe.

Operators are composed of others, which allocate intermediate values: a matrix product copies what
it broadcasts. Therefore each call that PyTorch makes internally is checked.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from co3d.errors import ExportedFileError
from co3d.export.peak_memory import PeakMemory

_ATEN = torch.ops.aten
_MOST_CALLS = 1 << 14


class MeasuringInterpreter(fx.Interpreter):
    """Runs a graph on fake tensors, and checks every value and every internal call.

    Args:
        graph: a step graph. origin: the file, for messages.
        limit: the most bytes that a value may take.

    Attributes:
        alive: the memory of the values, where a view counts as a value of its own.
    """

    def __init__(self, graph: fx.GraphModule, origin: str, limit: int) -> None:
        super().__init__(graph, garbage_collect_values=True)
        self._origin, self._limit = origin, limit
        self.alive = PeakMemory()

    def run_node(self, n: fx.Node) -> Any:
        """See `fx.Interpreter.run_node`.

        Raises:
            ExportedFileError: a value is too large.
            ValueError: the arguments of an operator that does not check them are invalid.
        """
        # With gradients PyTorch would decompose operators before `_Calls` sees them.
        with torch.inference_mode(), _Calls(lambda asked: self._check(n, asked)):
            value = super().run_node(n)
        tensors = [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
        sizes = [tensor.dtype.itemsize * math.prod(tensor.shape) for tensor in tensors]
        for size in sizes:
            self._check(n, size)
        made_bytes = sum(sizes) if n.op == "call_function" else 0
        self.alive.step(n.name, made_bytes, [given.name for given in n.all_input_nodes])
        return value

    def _check(self, n: fx.Node, asked_bytes: int) -> None:
        if asked_bytes > self._limit:
            raise ExportedFileError(
                f"cannot run {self._origin}: its value {n.name!r} takes {asked_bytes} bytes, "
                f"expected at most {self._limit}; if you trust it, load_program(path, "
                "most_bytes=…) allows more"
            )


class _Calls(TorchDispatchMode):
    """Checks the internal calls of one operator."""

    def __init__(self, check: Callable[[int], None]) -> None:
        super().__init__()
        self._check = check
        self._count = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """See `TorchDispatchMode`."""
        del types
        kwargs = kwargs or {}
        self._count += _count_results(func, args)
        if self._count > _MOST_CALLS:
            raise ValueError(f"it makes over {_MOST_CALLS} calls or results at once")
        if func.namespace == "aten":
            with self:
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        check = _CHECKS.get(func)
        if check is not None:
            check(*args, **kwargs)
        made = func(*args, **kwargs)
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):  # the storage of a view is that of its base
                self._check(leaf.untyped_storage().nbytes())
        return made


def _count_results(func: Any, args: tuple[Any, ...]) -> int:
    """How many values a call returns, at least 1; splitting operators may return millions."""
    if func is _ATEN.tensor_split.sections:
        return args[1]
    if func is _ATEN.unbind.int:
        given, dim = args[0], args[1] if len(args) > 1 else 0
        return given.shape[dim]
    if func in (_ATEN.split.Tensor, _ATEN.unsafe_split.Tensor):
        given, size, dim = args[0], args[1], args[2] if len(args) > 2 else 0
        return given.shape[dim] // max(1, size)
    return 1


def _check_division(given: Any, divisor: Any, *, rounding_mode: str | None) -> None:
    """Integer division by zero, or of the least integer by -1, is a processor exception."""
    if rounding_mode != "trunc" or given.dtype.is_floating_point:
        return
    if isinstance(divisor, Tensor) and divisor.dtype.is_floating_point:
        return
    if not isinstance(divisor, int | float) or divisor in (0, -1):
        raise ValueError("it divides integers, towards zero, by what may be 0 or -1")


def _check_batch_norm(given: Tensor, *parameters: Any) -> None:
    """Parameters that are shorter than the channels would be read beyond their end."""
    channels = given.shape[1]
    if any(isinstance(p, Tensor) and p.numel() != channels for p in parameters):
        raise ValueError(f"it norms {channels} channels by parameters of another number")


def _check_group_norm(given: Tensor, *arguments: Any) -> None:
    weight, bias, count, channels, area, groups, _epsilon = arguments
    if given.numel() != count * channels * area or groups < 1 or channels % groups:
        raise ValueError(f"it norms {given.numel()} numbers as {count} x {channels} x {area}")
    if any(p is not None and p.numel() != channels for p in (weight, bias)):
        raise ValueError(f"it norms {channels} channels by parameters of another number")


def _check_attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> None:
    """Keys and values must have equal sizes, because the kernel does not check them."""
    if key.shape[:-1] != value.shape[:-1] or query.shape[:-2] != key.shape[:-2]:
        raise ValueError(f"it attends to {list(key.shape)} keys, and {list(value.shape)} values")


_CHECKS: dict[Any, Callable[..., None]] = {
    _ATEN.div.Tensor_mode: _check_division,
    _ATEN.div.Scalar_mode: _check_division,
    _ATEN._native_batch_norm_legit_no_training.default: _check_batch_norm,
    _ATEN.native_batch_norm.default: _check_batch_norm,
    _ATEN.native_group_norm.default: _check_group_norm,
    _ATEN._scaled_dot_product_flash_attention_for_cpu.default: _check_attention,
}
"""The checks for operators that do not check their own arguments."""
