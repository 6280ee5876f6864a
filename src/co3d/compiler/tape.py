"""Records what conversion computes from a network's weights, to repeat it with gradients.

Conversion folds batch norms into convolutions, splits kernels into taps and changes their layout,
all with ordinary tensor operators. The tape records those that depend on a weight. Replayed with
the current weights it computes the constants of the step graphs as differentiable functions of
them, so that passes and rules need not know about training.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

from co3d.errors import ConversionError

# Functions that turn a tensor into a Python value; gradients cannot flow through these.
_READERS = {
    Tensor.item,
    Tensor.tolist,
    Tensor.__bool__,
    Tensor.__float__,
    Tensor.__int__,
    Tensor.__index__,
}


@dataclass(frozen=True)
class _Slot:
    """Refers to a value on the tape by its number."""

    index: int


@dataclass(frozen=True)
class _Call:
    """One operator: `results` = function(*args, **kwargs), with slots for recorded values."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[int, ...]

    @property
    def reads(self) -> list[int]:
        """The numbers of the slots among the arguments."""
        leaves = tree_leaves((self.args, self.kwargs))
        return [leaf.index for leaf in leaves if isinstance(leaf, _Slot)]


class WeightTape(TorchFunctionMode):
    """Records every operator in its `with` block that depends on a root.

    Args:
        roots: the weights by name.
    """

    def __init__(self, roots: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._names = list(roots)
        self._calls: list[_Call] = []
        # Keeps the values alive, so that their ids are not reused.
        self._values: list[Tensor] = []
        self._slots: dict[int, int] = {}
        for tensor in roots.values():
            self._note(tensor)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operator, and record it if an argument depends on a weight."""
        del types
        kwargs = dict(kwargs or {})
        result = func(*args, **kwargs)
        noted = any(
            isinstance(leaf, Tensor) and id(leaf) in self._slots
            for leaf in tree_leaves((tuple(args), kwargs))
        )
        if not noted:
            return result
        if func in _READERS:
            raise ConversionError(
                "cannot train through the step program: conversion depends on the value of a "
                "weight, not only on its shape; train in clip form"
            )
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if any(id(tensor) not in self._slots for tensor in made):
            given, named = tree_map_only(Tensor, self._slot, (tuple(args), kwargs))
            results = tuple(self._note(tensor) for tensor in made)
            self._calls.append(_Call(func, given, named, results))
        return result

    def find(self, tensor: Tensor) -> int | None:
        """Number of a value that depends on the weights; None for other tensors."""
        return self._slots.get(id(tensor))

    def cut(self, wanted: Sequence[int]) -> "WeightProgram":
        """The part of the tape that computes the values with these numbers."""
        needed = set(wanted)
        calls = []
        for call in reversed(self._calls):
            if needed.intersection(call.results):
                calls.append(call)
                needed.update(call.reads)
        roots = {name: slot for slot, name in enumerate(self._names) if slot in needed}
        return WeightProgram(roots, tuple(reversed(calls)), tuple(wanted))

    def _note(self, tensor: Tensor) -> int:
        self._slots[id(tensor)] = len(self._values)
        self._values.append(tensor)
        return len(self._values) - 1

    def _slot(self, tensor: Tensor) -> Any:
        slot = self._slots.get(id(tensor))
        return tensor if slot is None else _Slot(slot)


@dataclass(frozen=True)
class WeightProgram:
    """The computation of constants from weights.

    Attributes:
        roots: name of a weight -> its number.
        calls: the operators in order.
        results: numbers of the constants.
    """

    roots: Mapping[str, int]
    calls: tuple[_Call, ...]
    results: tuple[int, ...]

    def __call__(self, weights: Mapping[str, Tensor]) -> list[Tensor]:
        """Compute the constants from these weights, differentiably."""
        values = {slot: weights[name] for name, slot in self.roots.items()}
        device = next(iter(values.values())).device if values else torch.device("cpu")

        def find(leaf: Any) -> Any:
            if isinstance(leaf, _Slot):
                return values[leaf.index]
            return leaf.to(device)

        for call in self.calls:
            args, kwargs = tree_map_only((_Slot, Tensor), find, (call.args, call.kwargs))
            made = call.function(*args, **kwargs)
            tensors = [leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor)]
            values.update(zip(call.results, tensors, strict=True))
        return [values[slot] for slot in self.results]
