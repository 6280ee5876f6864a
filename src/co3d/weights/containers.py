"""Read a checkpoint file of any known container into named tensors, never running code from it."""

import pickle
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from co3d.errors import WeightError

_WRAPPERS = ("model_state", "state_dict")
_PREFIXES = ("module.", "model.")
# What the restricted unpickler and the zip reader raise on a file that is damaged or hostile.
_TORCH_READ_ERRORS = (
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
    """Read a checkpoint: safetensors, torch zip or legacy torch pickle.

    A torch file may be the state itself or hold it under `model_state` or `state_dict`. A prefix
    that every key shares (`module.` of distributed training, `model.`) is taken off.

    Raises:
        WeightError: the file is absent, damaged, of another kind, or holds more than plain data.
    """
    path = Path(path)
    if find_container(path) == "safetensors":
        return _read_safetensors(path)
    return Checkpoint(str(path), _without_prefix(_find_state(_read_torch(path), path)))


def find_container(path: Path) -> Literal["safetensors", "torch"]:
    """Tell the container of a checkpoint by its first bytes.

    Raises:
        WeightError: the file is absent, unreadable or of no kind that co3d reads.
    """
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise WeightError(
            f"cannot read weights {path}: {error.strerror}; check the path"
        ) from error
    if head[8:9] == b"{":  # after eight bytes that say how long the JSON is
        return "safetensors"
    if head[:4] == b"PK\x03\x04" or head[:1] == b"\x80":  # zip, or pickle of protocol 2 on
        return "torch"
    raise WeightError(
        f"cannot read weights {path}: it begins with {head!r}, like neither a torch checkpoint nor "
        "safetensors; check that it is not a saved web page"
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
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except _TORCH_READ_ERRORS as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise WeightError(
            f"cannot read weights {path}: damaged, or it holds more than tensors and plain data, "
            f"which is never run ({reason}); save a state_dict or fetch the file again"
        ) from error


def _find_state(content: Any, path: Path) -> Mapping[str, Tensor]:
    """The mapping of keys to tensors inside a loaded torch file."""
    state = content
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            state = content[wrapper]
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


def _without_prefix(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in state):
            return _without_prefix({key.removeprefix(prefix): state[key] for key in state})
    return state
