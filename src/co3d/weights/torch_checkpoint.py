"""Read files of `torch.save`, of the present format and the one before PyTorch 1.6.

PyTorch's own restricted reader executes nothing either, but a file can keep it busy for ever, make
it allocate any amount of memory, or end the process. Here the pickle is read first, into stand-ins,
and then only the wanted tensors, once their sizes are known to fit the file.
"""

import io
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from co3d.weights.pickle_machine import PickleMachine, RefusedPickleError
from co3d.weights.pickled_tensors import (
    FEW_BYTES,
    PickledStorage,
    PickledTensor,
    load_storage,
    make_finder,
)
from co3d.zip_directory import open_zip

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
"""The first two numbers of files from before PyTorch 1.6."""

_TIMES = 64
"""The most bytes that tensors may claim, as a multiple of the file's, since some share storage."""

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_COUNT = struct.Struct("<q")


class TorchCheckpoint:
    """The content of an open file of `torch.save`.

    Attributes:
        content: plain values, with a `PickledTensor` for each tensor.

    Args:
        content: see above.
        places: key -> offset of the storage, and its size, in bytes.
    """

    def __init__(
        self,
        file: BinaryIO,
        size_bytes: int,
        content: Any,
        places: Callable[[str], tuple[int, int]],
    ) -> None:
        self.content = content
        self._file, self._size_bytes = file, size_bytes
        self._places = places
        self._storages: dict[str, Tensor] = {}

    def read_tensors(self, wanted: Iterable[PickledTensor]) -> list[Tensor]:
        """The tensors for stand-ins; tensors of one storage share it.

        Raises:
            RefusedPickleError: they claim more than the file has.
        """
        wanted = list(wanted)
        claimed = sum(tensor.size_bytes for tensor in wanted)
        if claimed > _TIMES * self._size_bytes + FEW_BYTES:
            raise RefusedPickleError(
                f"its tensors claim {claimed} bytes, it has {self._size_bytes}"
            )
        places = {tensor.storage.key: self._places(tensor.storage.key) for tensor in wanted}
        if sum(size for _, size in places.values()) > self._size_bytes:
            raise RefusedPickleError("its storages overlap")
        return [tensor.make(self._read(*places[tensor.storage.key], tensor)) for tensor in wanted]

    def read_all(self) -> Any:
        """The content with its tensors."""
        stands = list(_find_tensors(self.content))
        tensors = {id(s): t for s, t in zip(stands, self.read_tensors(stands), strict=True)}
        return _replace(self.content, tensors)

    def _read(self, start: int, size_bytes: int, tensor: PickledTensor) -> Tensor:
        storage = tensor.storage
        end = storage.first * storage.dtype.itemsize + storage.size_bytes
        if end > size_bytes:
            raise RefusedPickleError(f"a storage of {end} bytes has {size_bytes} in the file")
        if storage.key not in self._storages:
            content = torch.empty(size_bytes, dtype=torch.uint8)
            self._file.seek(start)
            if self._file.readinto(content.numpy()) != size_bytes:  # type: ignore[attr-defined]
                raise EOFError("the file ends in a storage")
            self._storages[storage.key] = content
        return self._storages[storage.key]


@contextmanager
def open_torch_checkpoint(path: Path) -> Iterator[TorchCheckpoint]:
    """Read the pickle of a file, and keep the file open for its tensors.

    Raises:
        RefusedPickleError: it is compressed, or its pickle holds more than plain data and tensors.
        zipfile.BadZipFile, OSError, ValueError, LookupError, TypeError, struct.error: it is
            damaged.
    """
    with path.open("rb") as file:
        size_bytes = path.stat().st_size
        is_zip = file.read(2) == b"PK"
        read = _read_zip if is_zip else _read_legacy
        yield TorchCheckpoint(file, size_bytes, *read(file, size_bytes))


def _read_zip(file: BinaryIO, size_bytes: int) -> tuple[Any, Callable[[str], tuple[int, int]]]:
    records = {info.filename: info for info in open_zip(file).infolist()}
    folder = next(iter(records), "").partition("/")[0]

    def place(name: str) -> tuple[int, int]:
        info = records[f"{folder}/{name}"]
        if info.compress_type != zipfile.ZIP_STORED:
            raise RefusedPickleError("it is compressed, which torch.save never does")
        file.seek(info.header_offset)
        magic, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        start = info.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
        if magic != b"PK\x03\x04" or start + info.file_size > size_bytes:
            raise RefusedPickleError(f"its part {name[:100]!r} reaches beyond its end")
        return start, info.file_size

    def read(name: str) -> bytes:
        start, length = place(name)
        file.seek(start)
        return file.read(length)

    if f"{folder}/byteorder" in records and read("byteorder") != b"little":
        raise RefusedPickleError("its numbers are of another byte order; save it on this machine")
    content = PickleMachine(make_finder(), load_storage).read(read("data.pkl"))
    return content, lambda key: place(f"data/{key}")


def _read_legacy(file: BinaryIO, size_bytes: int) -> tuple[Any, Callable[[str], tuple[int, int]]]:
    storages: dict[str, PickledStorage] = {}

    def load(persistent_id: Any) -> PickledStorage:
        storage = load_storage(persistent_id)
        storages.setdefault(storage.key, storage)
        return storage

    def read() -> Any:
        return PickleMachine(make_finder(), load).read(file)

    file.seek(0)
    if read() != MAGIC or read() != VERSION:
        raise RefusedPickleError("it is of an unknown version of PyTorch's format")
    system = read()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise RefusedPickleError("its numbers are of another byte order")
    content, keys = read(), read()
    places = {}
    for key in keys if isinstance(keys, list) else ():
        (count,) = _COUNT.unpack(file.read(_COUNT.size))
        start, length = file.tell(), count * storages[key].dtype.itemsize
        if not 0 <= length <= size_bytes - start:
            raise RefusedPickleError("a storage reaches beyond its end")
        places[key] = start, length
        file.seek(length, io.SEEK_CUR)
    return content, places.__getitem__


def _find_tensors(value: Any) -> Iterator[PickledTensor]:
    """Every stand-in in a value, whose size `check_nesting` has limited."""
    if isinstance(value, PickledTensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _find_tensors(part)


def _replace(value: Any, tensors: dict[int, Tensor]) -> Any:
    if isinstance(value, dict):
        return {key: _replace(part, tensors) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_replace(part, tensors) for part in value)
    return tensors.get(id(value), value)
