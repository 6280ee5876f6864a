"""Read a checkpoint file of any known container into named tensors, never running code from it."""

import argparse
import logging
import pathlib
import pickle
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from co3d.errors import WeightError
from co3d.weights.array_pickle import read_array_pickle

Container = Literal["safetensors", "torch", "pickle"]

# Of PySlowFast, PyTorch's tutorials, Lightning, torchvision's references, DeepSpeed, Caffe2; last
# moving averages, which are taken where a file has nothing else.
_WRAPPERS = (
    *("model_state", "model_state_dict", "state_dict", "model", "net", "network", "module"),
    *("blobs", "ema", "model_ema", "ema_model", "ema_state_dict", "state_dict_ema"),
)
_MOST_WRAPPERS = 3
_HARMLESS = (argparse.Namespace, pathlib.PosixPath, pathlib.PurePosixPath)
"""Types that training code keeps beside the weights, and that hold plain values alone."""

_FOREIGN_TYPE = re.compile(r"Unsupported global: GLOBAL (\S+)|Can only .*?(?:class|function) (\S+)")
_LOG = logging.getLogger("co3d")
_HEAD_BYTES = 32
_TORCH_MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")  # the first number of a legacy torch file
MAX_PICKLE_BYTES = 4 << 30
# What the restricted unpicklers and the zip reader raise on a file that is damaged or hostile.
_READ_ERRORS = (
    pickle.UnpicklingError,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        origin: where it was read, for messages.
        tensors: key -> dense tensor in main memory.
        metadata: text beside the tensors (safetensors only).
    """

    origin: str
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint: safetensors, torch zip, legacy torch file or Caffe2 pickle.

    A file may be the state itself or hold it under `model_state`, `model_state_dict`,
    `state_dict`, `model`, `net`, `ema` and their like; which is read is logged where there are
    several. Keys stand as in the file: `load_weights` takes off prefixes such as `module.`.

    Raises:
        WeightError: the file is absent, damaged, of another kind, or holds more than plain data.
    """
    path = Path(path)
    container = find_container(path)
    if container == "safetensors":
        return _read_safetensors(path)
    content = _read_torch(path) if container == "torch" else _read_pickle(path)
    return Checkpoint(str(path), _find_state(content, path))


def find_container(path: Path) -> Container:
    """Tell the container of a checkpoint by its first bytes.

    Raises:
        WeightError: the file is absent, unreadable or of no kind that co3d reads.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise WeightError(
            f"cannot read weights {path}: {error.strerror}; check the path"
        ) from error
    if head[8:9] == b"{":  # after eight bytes that say how long the JSON is
        return "safetensors"
    if head[:4] == b"PK\x03\x04" or _TORCH_MAGIC in head:
        return "torch"
    if head[:1] == b"\x80":  # protocol 2 and later
        return "pickle"
    raise WeightError(
        f"cannot read weights {path}: it begins with {head[:9]!r}, like neither a torch checkpoint "
        "nor safetensors nor a pickle; check that it is not a saved web page"
    )


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
            return Checkpoint(str(path), tensors, file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightError(
            f"cannot read weights {path}: damaged or not safetensors ({error}); fetch it again"
        ) from error


def _read_torch(path: Path) -> object:
    def read() -> object:
        with torch.serialization.safe_globals(list(_HARMLESS)):
            return torch.load(path, map_location="cpu", weights_only=True)

    return _read_untrusted(path, read)


def _read_pickle(path: Path) -> object:
    def read() -> object:
        size_bytes = path.stat().st_size
        if size_bytes > MAX_PICKLE_BYTES:
            raise ValueError(f"{size_bytes} bytes, at most {MAX_PICKLE_BYTES} are read")
        return read_array_pickle(path.read_bytes())

    return _read_untrusted(path, read)


def _read_untrusted(path: Path, read: Callable[[], object]) -> object:
    try:
        return read()
    except _READ_ERRORS as error:
        text = str(error).strip()
        foreign = _FOREIGN_TYPE.search(text)
        reason = text.split("\n")[0] or type(error).__name__
        if foreign:
            reason = f"a {foreign[1] or foreign[2]}"
        raise WeightError(
            f"cannot read weights {path}: damaged, or it holds more than tensors and plain data, "
            f"which is never run ({reason}); save a state_dict or fetch the file again"
        ) from error


def _find_state(content: Any, path: Path) -> Mapping[str, Tensor]:
    """The mapping of keys to tensors inside a loaded torch file."""
    state = content
    for _ in range(_MOST_WRAPPERS):
        if not isinstance(state, Mapping):
            break
        found = [name for name in _WRAPPERS if isinstance(state.get(name), Mapping)]
        if not found:
            break
        if len(found) > 1:
            _LOG.warning(
                "weights %s: %s is read, and %s left out", path, found[0], " and ".join(found[1:])
            )
        state = state[found[0]]
    if not isinstance(state, Mapping):
        raise WeightError(
            f"cannot read weights {path}: it holds a {type(state).__name__}, expected a mapping of "
            "names to tensors; save model.state_dict()"
        )
    strangers = [key for key, value in state.items() if not _is_plain_tensor(key, value)]
    if strangers or not state:
        shown = ", ".join(repr(key) for key in strangers[:20]) or "nothing at all"
        raise WeightError(
            f"cannot read weights {path}: expected only named tensors, at the top or under "
            f"{' or '.join(_WRAPPERS)}, but it holds {shown}"
            + (f" ({len(strangers)} in all)" if strangers else "")
        )
    return state


def _is_plain_tensor(key: object, value: object) -> bool:
    return (
        isinstance(key, str)
        and isinstance(value, Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )
