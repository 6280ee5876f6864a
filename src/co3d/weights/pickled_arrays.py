"""Stand-ins for numpy's objects in a pickle, which accept plain numbers and refuse all else."""

import re
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from co3d.printable import short_repr
from co3d.weights.pickle_machine import Buildable, Constructor, RefusedPickleError

_PLAIN_NUMBERS = re.compile(r"[fiu][1248]|b1")
_MOST_SIZES = 64
"""The most dimensions of an array in numpy and torch."""

_LARGEST = 1 << 48
_SHOWN = 200


class PickledDtype(Buildable):
    """numpy.dtype, for plain numbers only."""

    def __init__(self, code: object, *_flags: object) -> None:
        if not isinstance(code, str) or not _PLAIN_NUMBERS.fullmatch(code):
            raise RefusedPickleError(
                f"it holds an array of {short_repr(code)}, expected plain numbers"
            )
        self.code = code
        self.order = "="

    def build(self, state: Any) -> None:
        """Take (version, byte order, …); the rest describes structured types."""
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if not isinstance(order, str) or order not in ("<", ">", "=", "|"):
            raise RefusedPickleError(f"it holds numbers of the byte order {short_repr(order)}")
        self.order = order

    def numpy(self) -> np.dtype:
        """The dtype itself."""
        return np.dtype(self.order + self.code)


class PickledArray(Buildable):
    """numpy.ndarray: created empty, then given its shape and bytes."""

    def __init__(self, *_arguments: object) -> None:
        self.shape: tuple[int, ...] = ()
        self.dtype = np.dtype(np.uint8)
        self.columns_first = False
        self.data: str | bytes | bytearray = b""

    def build(self, state: Any) -> None:
        """Take (version, shape, dtype, whether it is in column-major order, bytes)."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise RefusedPickleError("it holds an array of unknown form")
        _version, shape, dtype, columns_first, data = state
        if not isinstance(dtype, PickledDtype) or not isinstance(shape, tuple):
            raise RefusedPickleError("it holds an array of unknown shape or type")
        if len(shape) > _MOST_SIZES or not all(
            type(size) is int and 0 <= size < _LARGEST for size in shape
        ):
            raise RefusedPickleError("it holds an array of an impossible shape")
        if not isinstance(data, str | bytes | bytearray):  # Python 2 wrote bytes as text
            raise RefusedPickleError("it holds an array of more than bytes")
        self.shape, self.dtype, self.data = shape, dtype.numpy(), data
        self.columns_first = bool(columns_first)

    @property
    def size_bytes(self) -> int:
        """The bytes that the array takes in memory."""
        return prod(self.shape) * self.dtype.itemsize

    def tensor(self) -> Tensor:
        """The array as a tensor with its own memory, in native byte order."""
        data = self.data.encode("latin-1") if isinstance(self.data, str) else self.data
        if len(data) != self.size_bytes:
            raise RefusedPickleError(f"{len(data)} bytes cannot be {self.dtype} of {self.shape}")
        order = "F" if self.columns_first else "C"
        values = np.frombuffer(data, self.dtype).reshape(self.shape, order=order)
        return torch.from_numpy(np.array(values, self.dtype.newbyteorder("="), order="C"))


def find_constructor(name: str) -> Constructor:
    """Our constructor for "MODULE NAME".

    Raises:
            RefusedPickleError: arrays do not need it.
    """
    if name not in _CONSTRUCTORS:
        raise RefusedPickleError(f"it names {name[:_SHOWN].replace(' ', '.')}")
    return _CONSTRUCTORS[name]


def _from_buffer(data: object, dtype: object, shape: object, order: object) -> PickledArray:
    array = PickledArray()
    array.build((0, shape, dtype, order == "F", data))
    return array


def _make_scalar(dtype: object, data: object) -> PickledArray:
    return _from_buffer(data, dtype, (), "C")


def _encode(text: object, encoding: object) -> str:
    """How newer Pythons write bytes in an old protocol. The text stays text, as for Python 2."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise RefusedPickleError(f"it encodes text as {short_repr(encoding)}")
    return text


def _refuse(*_arguments: object) -> None:
    raise RefusedPickleError("it makes an array in an unknown way")


_CONSTRUCTORS = {
    "numpy dtype": Constructor(PickledDtype),
    "numpy ndarray": Constructor(_refuse),  # only ever an argument
    "_codecs encode": Constructor(_encode),
    "__builtin__ bytes": Constructor(lambda: ""),  # no bytes, in an old protocol
    "collections OrderedDict": Constructor(lambda: {}),
}
for _core in ("numpy.core", "numpy._core"):  # before and since numpy 2
    _CONSTRUCTORS[f"{_core}.multiarray _reconstruct"] = Constructor(PickledArray)
    _CONSTRUCTORS[f"{_core}.multiarray scalar"] = Constructor(_make_scalar)
    _CONSTRUCTORS[f"{_core}.numeric _frombuffer"] = Constructor(_from_buffer)
