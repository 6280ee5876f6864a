"""Stand-ins for PyTorch's objects in a pickle: tensors over storages outside of it."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from co3d.weights.dtypes import PLAIN_DTYPES
from co3d.weights.pickle_machine import (
    MAX_STEPS,
    Buildable,
    Constructor,
    RefusedPickleError,
    is_plain_key,
)

FEW_BYTES = 64 << 20
"""The most bytes that a tensor over a smaller storage may claim, as expanded tensors do."""

_MOST_SIZES = 64
_LARGEST = 1 << 48
_SHOWN = 200
_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "UntypedStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexDoubleStorage": torch.complex128,
    "ComplexFloatStorage": torch.complex64,
}
_PLAIN = {str(dtype).replace(".", " "): dtype for dtype in PLAIN_DTYPES}
# Objects that training code stores beside weights: known, harmless, and never inspected.
_OPAQUE = {
    *("argparse Namespace", "pathlib PosixPath", "pathlib PurePosixPath"),
    *("_codecs encode", "torch Size", "torch device", "torch.serialization _get_layout"),
    "collections Counter",
    *(f"{module} {name}" for module in ("builtins", "__builtin__") for name in ("set", "complex")),
    *("builtins bytearray", "__builtin__ bytearray"),
    "torch._utils _rebuild_qtensor",
    "torch._utils _rebuild_sparse_tensor",
    "torch._utils _rebuild_meta_tensor_no_storage",
    "torch._utils _rebuild_nested_tensor",
    "torch._utils _rebuild_wrapper_subclass",
    "torch._utils _rebuild_device_tensor_from_numpy",
    "torch._utils _rebuild_device_tensor_from_cpu_tensor",
    *(f"torch {kind}Storage" for kind in ("QInt8", "QUInt8", "QInt32", "QUInt4x2", "QUInt2x4")),
}


class OpaqueValue(Buildable):
    """Something that is not a weight; it accepts any state and is never inspected."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def build(self, state: Any) -> None:
        """See `Buildable`."""


@dataclass(frozen=True, slots=True)
class PickledStorage:
    """A storage outside of the pickle.

    Attributes:
        key: of the storage in the file.
        dtype: of its elements. count: number of elements.
        first: index of its first element in what the key stands for.
    """

    key: str
    dtype: torch.dtype
    count: int
    first: int = 0

    @property
    def size_bytes(self) -> int:
        """All of them."""
        return self.count * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class PickledTensor:
    """A tensor as a view of a storage.

    Attributes:
        storage: the storage.
        dtype: of the elements.
        offset: of the first element. shape, strides: in elements.
    """

    storage: PickledStorage
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        numbers = (self.offset, *self.shape, *self.strides)
        if not all(type(n) is int and 0 <= n < _LARGEST for n in numbers):
            raise RefusedPickleError("it holds a tensor of impossible sizes")
        if len(self.shape) != len(self.strides) or len(self.shape) > _MOST_SIZES:
            raise RefusedPickleError(f"it holds a tensor of {len(self.shape)} sizes")
        reach = self.offset + 1
        reach += sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        if prod(self.shape) and reach * self.dtype.itemsize > self.storage.size_bytes:
            raise RefusedPickleError("it holds a tensor that reaches beyond its storage")
        if self.size_bytes > max(self.storage.size_bytes, FEW_BYTES):
            raise RefusedPickleError(
                f"it holds a tensor of {self.size_bytes} bytes out of {self.storage.size_bytes}"
            )

    @property
    def size_bytes(self) -> int:
        """The bytes of the tensor if contiguous."""
        return prod(self.shape) * self.dtype.itemsize

    def make(self, content: Tensor) -> Tensor:
        """The tensor over the bytes (uint8) of its storage."""
        start = self.storage.first * self.storage.dtype.itemsize
        numbers = content[start : start + self.storage.size_bytes]
        return numbers.view(self.dtype).as_strided(self.shape, self.strides, self.offset)


def load_storage(persistent_id: Any) -> PickledStorage:
    """The stand-in for a storage that `torch.save` references.

    Raises:
        RefusedPickleError: it is something else.
    """
    if not isinstance(persistent_id, tuple) or not 5 <= len(persistent_id) <= 6:
        raise RefusedPickleError("it refers to what is no storage")
    word, kind, key, _location, count, *view = persistent_id
    dtype = kind.make() if isinstance(kind, _StorageType) else None
    if word != "storage" or dtype is None or not isinstance(key, str):
        raise RefusedPickleError("it refers to a storage of unknown kind")
    first = 0
    if view and view[0] is not None:  # files from before PyTorch 1.6
        if not isinstance(view[0], tuple) or len(view[0]) != 3:
            raise RefusedPickleError("it refers to a storage of unknown form")
        _view_key, first, count = view[0]
    if not all(type(n) is int and 0 <= n < _LARGEST for n in (first, count)):
        raise RefusedPickleError("it refers to a storage of an impossible size")
    return PickledStorage(key, dtype, count, first)


def make_finder() -> Callable[[str], Any]:
    """A function that returns the constructor for "MODULE NAME" in one file of PyTorch's.

    It raises RefusedPickleError for names that weights do not need and that may do harm.
    """
    found = {**_FOUND, "collections OrderedDict": Constructor(_make_mapping())}

    def find(name: str) -> Any:
        if name in found:
            return found[name]
        module, _, rest = name.partition(" ")
        if module in ("torch", "torch.storage") and rest in _DTYPES:
            return _StorageType(_DTYPES[rest])
        if name in _PLAIN:
            return _PLAIN[name]
        if name in _OPAQUE:
            return Constructor(lambda *_arguments: OpaqueValue(name))
        shown = name[:_SHOWN].replace(" ", ".").removeprefix("builtins.")
        raise RefusedPickleError(f"a {shown}")

    return find


class _StorageType(Constructor):
    """A type of storage, which is only referred to, never called."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(lambda: dtype)


def _rebuild_tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any
) -> PickledTensor | OpaqueValue:
    """A tensor from (storage, offset, shape, strides[, requires_grad, hooks[, metadata]])."""
    if len(rest) > 2 and rest[2]:
        return OpaqueValue("a conjugated tensor")
    dtype = storage.dtype if isinstance(storage, PickledStorage) else None
    return _make_tensor(storage, offset, shape, strides, dtype)


def _rebuild_untyped(
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    _needs: Any,
    _hooks: Any,
    dtype: Any,
    *_: Any,
) -> PickledTensor:
    return _make_tensor(storage, offset, shape, strides, dtype)


def _make_tensor(storage: Any, offset: Any, shape: Any, strides: Any, dtype: Any) -> PickledTensor:
    if not isinstance(storage, PickledStorage) or not isinstance(dtype, torch.dtype):
        raise RefusedPickleError("it makes a tensor of what is no storage")
    if not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise RefusedPickleError("it makes a tensor of an unknown shape")
    return PickledTensor(storage, dtype, offset, shape, strides)


def _rebuild_from_type(function: Any, _kind: Any, arguments: Any, _state: Any) -> Any:
    """A tensor subclass or one with attributes, which are ignored."""
    if not isinstance(function, Constructor) or not isinstance(arguments, tuple):
        raise RefusedPickleError("it makes a tensor in an unknown way")
    return function.make(*arguments)


def _make_mapping() -> Callable[..., dict[Any, Any]]:
    read = 0

    def make(pairs: Any = ()) -> dict[Any, Any]:
        """A dictionary, which Python 2 writes as a list of pairs."""
        nonlocal read
        if not isinstance(pairs, list | tuple):
            raise RefusedPickleError("it makes a dictionary of what is no list")
        read += len(pairs)
        if read > MAX_STEPS:
            raise RefusedPickleError(f"it takes more than {MAX_STEPS} steps")
        mapping = {}
        for pair in pairs:
            if not isinstance(pair, list | tuple) or len(pair) != 2 or not is_plain_key(pair[0]):
                raise RefusedPickleError("it makes a dictionary of what are no pairs")
            mapping[pair[0]] = pair[1]
        return mapping

    return make


_PARAMETER = Constructor(lambda tensor, *_: tensor)
_FOUND = {
    "torch._utils _rebuild_tensor": Constructor(_rebuild_tensor),
    "torch._utils _rebuild_tensor_v2": Constructor(_rebuild_tensor),
    "torch._utils _rebuild_tensor_v3": Constructor(_rebuild_untyped),
    "torch._utils _rebuild_parameter": _PARAMETER,
    "torch._utils _rebuild_parameter_with_state": _PARAMETER,
    "torch._tensor _rebuild_from_type_v2": Constructor(_rebuild_from_type),
    "torch.nn.parameter Parameter": _PARAMETER,
    "torch Tensor": Constructor(lambda *_: OpaqueValue("a tensor")),
}
