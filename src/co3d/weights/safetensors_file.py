"""Safetensors: headers of a size that real files have, and equal bytes of equal content."""

import json
import stat
import struct
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from co3d.weights.dtypes import PLAIN_DTYPES

MAX_HEADER_BYTES = 16 << 20
"""Enough for some hundred thousand tensors; in memory each takes a hundred times its header
entry."""

MAX_KEY_LETTERS = 1 << 14
_MOST_TENSORS, _MOST_SIZES = 1 << 15, 64
READ_ERRORS = (
    SafetensorError,
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    struct.error,
)
"""Exceptions for a file that is damaged, or has data types that PyTorch lacks."""


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the text metadata of a file.

    Raises:
        SafetensorError, OSError, RuntimeError, ValueError, KeyError, TypeError, struct.error: see
            `READ_ERRORS`.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is no file, but a folder, a pipe or a device")
    with path.open("rb") as raw:
        (header_bytes,) = struct.unpack("<Q", raw.read(8))
    if header_bytes > MAX_HEADER_BYTES:
        raise ValueError(f"a header of {header_bytes} bytes, expected {MAX_HEADER_BYTES} at most")
    with safe_open(path, framework="pt") as file:
        keys = list(file.keys())
        if len(keys) > _MOST_TENSORS or any(len(key) > MAX_KEY_LETTERS for key in keys):
            raise ValueError(
                f"{len(keys)} tensors, expected {_MOST_TENSORS} at most, with names of "
                f"{MAX_KEY_LETTERS} letters at most"
            )
        for key in keys:
            if (sizes := len(file.get_slice(key).get_shape())) > _MOST_SIZES:
                raise ValueError(f"a tensor of {sizes} sizes, expected {_MOST_SIZES} at most")
        tensors = {key: file.get_tensor(key) for key in keys}
        for key, tensor in tensors.items():
            if tensor.dtype not in PLAIN_DTYPES:
                raise ValueError(f"{key} is of the type {tensor.dtype}, which is not read")
        return tensors, file.metadata() or {}


def pack_safetensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a file, which are equal for equal tensors and text.

    The library writes the text in another order each time.
    """
    content = save(dict(tensors), dict(metadata))
    (header_bytes,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + header_bytes])
    if metadata:
        header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors are aligned
    return b"".join((struct.pack("<Q", len(text)), text, content[8 + header_bytes :]))
