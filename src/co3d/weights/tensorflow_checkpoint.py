"""Checkpoints of TensorFlow 2 (PREFIX.index and PREFIX.data-…), read without TensorFlow.

The index is a table with an entry per tensor: type, sizes, offset, checksum. The tensors are in the
data files. One of them is an object graph with the names of the variables, such as
`stem/stem/conv3d/kernel`, which are the keys here. Kernels are transposed to PyTorch's order.
"""

import struct
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from co3d.weights.crc32c import crc32c, mask
from co3d.weights.wire_format import TABLE_MAGIC, read_fields, read_table, read_varint

INDEX_SUFFIX = ".index"
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VARIABLE = "/.ATTRIBUTES/VARIABLE_VALUE"
_SLOT = "/.OPTIMIZER_SLOT/"
_MOST_INDEX_BYTES, _MOST_GRAPH_BYTES = 16 << 20, 8 << 20
_MOST_TENSORS, _MOST_SIZES, _MOST_SHARDS = 1 << 15, 16, 1 << 10
_STRING = 7
_DTYPES = {
    **{1: torch.float32, 2: torch.float64, 3: torch.int32, 4: torch.uint8, 6: torch.int8},
    **{9: torch.int64, 10: torch.bool, 14: torch.bfloat16, 19: torch.float16},
}
"""Data types by TensorFlow's numbers for them."""


@dataclass(frozen=True)
class _Entry:
    """The index entry of a tensor."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    is_sliced: bool


def is_tensorflow_index(path: Path) -> bool:
    """Whether a file ends like a table."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - len(TABLE_MAGIC), 0))
        return file.read() == TABLE_MAGIC


def read_tensorflow_checkpoint(path: Path) -> dict[str, Tensor]:
    """The variables of a checkpoint by name, without those of the optimiser.

    Args:
        path: PREFIX.index; the data files are beside it.

    Raises:
        ValueError, struct.error, OSError, LookupError: it is damaged, a checksum differs, a data
            file is absent, or it claims more than it has.
    """
    if path.stat().st_size > _MOST_INDEX_BYTES:
        raise ValueError(f"an index of over {_MOST_INDEX_BYTES} bytes")
    table = read_table(path.read_bytes())
    shards = _read_header(table.pop(b"", b""))
    if len(table) > _MOST_TENSORS:
        raise ValueError(f"{len(table)} tensors, expected {_MOST_TENSORS} at most")
    entries = {key.decode(): _read_entry(value) for key, value in table.items()}
    with _Shards(path, shards) as files:
        graph = entries.pop(GRAPH, None)
        names = {} if graph is None else _read_names(files.read_text(graph))
        tensors: dict[str, Tensor] = {}
        for key, entry in entries.items():
            if entry.dtype == _STRING or _SLOT in key:
                continue
            name = names.get(key) or key.removesuffix(_VARIABLE)
            if name in tensors:
                raise ValueError(f"two tensors of the name {name[:100]!r}")
            tensors[name] = _reorder(name, files.read_tensor(entry))
    return tensors


class _Shards:
    """The data files of a checkpoint, while they are open."""

    def __init__(self, index: Path, count: int) -> None:
        self._prefix, self._count = str(index).removesuffix(INDEX_SUFFIX), count
        self._files: dict[int, BinaryIO] = {}
        self._left: dict[int, int] = {}
        self._open = ExitStack()

    def __enter__(self) -> "_Shards":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _read(self, entry: _Entry) -> bytearray:
        if not 0 <= entry.shard < self._count:
            raise ValueError(f"a tensor in the data file {entry.shard} of {self._count}")
        if entry.shard not in self._files:
            name = f"{self._prefix}.data-{entry.shard:05}-of-{self._count:05}"
            opened = Path(name).open("rb")  # noqa: SIM115 (closed with the others)
            self._files[entry.shard] = self._open.enter_context(opened)
            self._left[entry.shard] = self._files[entry.shard].seek(0, 2)
        file = self._files[entry.shard]
        self._left[entry.shard] -= entry.size
        if entry.offset + entry.size > file.seek(0, 2) or self._left[entry.shard] < 0:
            raise ValueError("tensors that reach beyond the data file, or overlap")
        file.seek(entry.offset)
        content = bytearray(entry.size)
        if file.readinto(content) != entry.size:  # type: ignore[attr-defined]
            raise EOFError("the data file ends in a tensor")
        return content

    def read_tensor(self, entry: _Entry) -> Tensor:
        dtype = _DTYPES.get(entry.dtype)
        if dtype is None or entry.is_sliced:
            raise ValueError(f"a tensor of the type {entry.dtype}, or in slices")
        count = 1
        for size in entry.shape:
            count *= size
        if count * dtype.itemsize != entry.size:
            raise ValueError(f"a tensor of the sizes {entry.shape} in {entry.size} bytes")
        content = self._read(entry)
        if mask(crc32c(np.frombuffer(content, np.uint8))) != entry.checksum:
            raise ValueError("a tensor with a wrong checksum: the data file is damaged")
        flat = torch.frombuffer(content, dtype=dtype) if count else torch.empty(0, dtype=dtype)
        return flat.reshape(entry.shape)

    def read_text(self, entry: _Entry) -> bytes:
        """The single string in a string tensor."""
        if entry.dtype != _STRING or entry.shape or entry.size > _MOST_GRAPH_BYTES:
            raise ValueError(f"{GRAPH} is no string of {_MOST_GRAPH_BYTES} bytes at most")
        content = bytes(self._read(entry))
        length, place = read_varint(content, 0)
        checksum = content[place : place + 4]
        text = content[place + 4 :]
        if len(text) != length:
            raise ValueError(f"{GRAPH} is of another length than it says")
        found = crc32c(struct.pack("<I", length))
        if struct.pack("<I", mask(found)) != checksum:
            raise ValueError(f"{GRAPH} is damaged")
        if mask(crc32c(text, crc32c(checksum, found))) != entry.checksum:
            raise ValueError(f"{GRAPH} is damaged")
        return text


def _read_header(message: bytes) -> int:
    """The number of data files."""
    fields = dict(read_fields(message))
    shards, is_big = _number(fields.get(1, 0)), fields.get(2, 0)
    if not 1 <= shards <= _MOST_SHARDS or is_big:
        raise ValueError(f"{shards} data files, or numbers of another byte order")
    return shards


def _read_entry(message: bytes) -> _Entry:
    shape: tuple[int, ...] = ()
    values: dict[int, int] = {}
    is_sliced = False
    for number, value in read_fields(message):
        if number == 2:
            shape = _read_shape(_bytes(value))
        elif number == 7:
            is_sliced = True
        elif number in (1, 3, 4, 5, 6):
            values[number] = _number(value)
    get = values.get
    return _Entry(get(1, 0), shape, get(3, 0), get(4, 0), get(5, 0), get(6, 0), is_sliced)


def _read_shape(message: bytes) -> tuple[int, ...]:
    sizes = []
    for number, value in read_fields(message):
        if number == 2:
            sizes.append(_number(dict(read_fields(_bytes(value))).get(1, 0)))
    if len(sizes) > _MOST_SIZES or any(size >= 1 << 40 for size in sizes):
        raise ValueError(f"a tensor of {len(sizes)} sizes, or of a negative one")
    return tuple(sizes)


def _read_names(graph: bytes) -> dict[str, str]:
    """Key -> name of the variables, from a TrackableObjectGraph."""
    names: dict[str, str] = {}
    for number, node in read_fields(graph):
        if number != 1:
            continue
        for part, attribute in read_fields(_bytes(node)):
            if part != 2:
                continue
            said: dict[int, Any] = dict(read_fields(_bytes(attribute)))
            key, name = _bytes(said.get(3, b"")), _bytes(said.get(2, b""))
            if key and name:
                names[key.decode()] = name.decode().partition(":")[0]
    return names


def _reorder(name: str, tensor: Tensor) -> Tensor:
    """Kernels (..., in, out) as (out, in, ...), and depthwise ones (H, W, C, 1) as (C, 1, H, W)."""
    last = name.rpartition("/")[2]
    if last == "depthwise_kernel" and tensor.ndim == 4:
        return tensor.permute(2, 3, 0, 1).contiguous()
    if last == "kernel" and tensor.ndim >= 2:
        sizes = range(tensor.ndim - 2)
        return tensor.permute(tensor.ndim - 1, tensor.ndim - 2, *sizes).contiguous()
    return tensor


def _number(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise ValueError("bytes where a number is expected")
    return value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number where bytes are expected")
    return value
