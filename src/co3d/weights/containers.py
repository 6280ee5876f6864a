"""Read a checkpoint file of any known container into named tensors, without running its code."""

import logging
import stat
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from co3d.errors import WeightError
from co3d.printable import short_repr
from co3d.weights.array_pickle import read_array_pickle
from co3d.weights.pickled_tensors import PickledTensor
from co3d.weights.safetensors_file import MAX_KEY_LETTERS, READ_ERRORS, read_safetensors
from co3d.weights.tensorflow_checkpoint import is_tensorflow_index, read_tensorflow_checkpoint
from co3d.weights.torch_checkpoint import MAGIC, open_torch_checkpoint

Container = Literal["safetensors", "torch", "pickle", "tensorflow"]

# Of PySlowFast, PyTorch's tutorials, Lightning, torchvision's references, DeepSpeed, Caffe2; moving
# averages come last, and are used if a file has nothing else.
_WRAPPERS = (
    *("model_state", "model_state_dict", "state_dict", "model", "net", "network", "module"),
    *("blobs", "ema", "model_ema", "ema_model", "ema_state_dict", "state_dict_ema"),
)
_MOST_WRAPPERS = 3
DESCRIPTION = "co3d_description"
"""Key under which our training checkpoints keep the metadata of a safetensors file."""

_LOG = logging.getLogger("co3d")
_HEAD_BYTES, _SHOWN = 32, 200
_TORCH_MAGIC = MAGIC.to_bytes(10, "little")  # the first number of a legacy torch file
MAX_PICKLE_BYTES = 4 << 30
# What the readers of pickles and zip archives raise for a damaged or hostile file.
_READ_ERRORS = (
    struct.error,
    zipfile.BadZipFile,
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
    """The contents of a checkpoint file.

    Attributes:
        origin: the file, for messages.
        tensors: key -> dense tensor in main memory.
        metadata: text beside the tensors: all of a safetensors file's; of torch files `cfg`, with
            PySlowFast's training settings, and the metadata of our own training.
    """

    origin: str
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_container(path: Path | str) -> Checkpoint:
    """Read a checkpoint here: safetensors, torch zip, legacy torch file, Caffe2 pickle, TensorFlow.

    For TensorFlow, name the index (`ckpt-1.index`), beside which the data files are.

    A file may be the state itself or hold it under `model_state`, `model_state_dict`,
    `state_dict`, `model`, `net`, `ema` and the like; if there are several, the log says which is
    read. Keys are unchanged: `load_weights` removes prefixes such as `module.`.

    Raises:
        WeightError: the file is absent, damaged, of another kind, or holds more than plain data.
    """
    path = Path(path)
    container = find_container(path)
    if container == "safetensors":
        return _read_safetensors(path)
    with _explain(path):
        if container == "tensorflow":
            return Checkpoint(str(path), read_tensorflow_checkpoint(path))
        if container == "pickle":
            return Checkpoint(str(path), _find_state(_read_pickle(path), path))
        with open_torch_checkpoint(path) as file:
            state = _find_state(file.content, path)
            tensors = file.read_tensors(state.values())
            named = dict(zip(state, tensors, strict=True))
            return Checkpoint(str(path), named, _find_metadata(file.content))


def read_training_checkpoint(path: Path) -> dict[str, Any]:
    """Everything in a checkpoint of a training run: state of the network, optimiser and loops.

    Raises:
        WeightError: as for `read_container`, or it is not a mapping of names.
    """
    if find_container(path) != "torch":
        raise WeightError(f"cannot read {path}: it is no checkpoint that training wrote")
    with _explain(path), open_torch_checkpoint(path) as file:
        content = file.read_all()
    if not isinstance(content, dict):
        raise WeightError(f"cannot read {path}: it holds a {type(content).__name__}, no mapping")
    return content


def find_container(path: Path) -> Container:
    """Detect the container of a checkpoint from its first bytes.

    Raises:
        WeightError: the file is absent, unreadable or of an unknown kind.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise WeightError(f"cannot read weights {path}: it is no file, but a pipe or a device")
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if is_tensorflow_index(path):
            return "tensorflow"
    except OSError as error:
        raise WeightError(
            f"cannot read weights {path}: {error.strerror}; check the path"
        ) from error
    if head[8:9] == b"{":  # after eight bytes with the length of the JSON
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
        return Checkpoint(str(path), *read_safetensors(path))
    except READ_ERRORS as error:
        raise WeightError(
            f"cannot read weights {path}: damaged or not safetensors ({error}); fetch it again"
        ) from error


def _read_pickle(path: Path) -> object:
    size_bytes = path.stat().st_size
    if size_bytes > MAX_PICKLE_BYTES:
        raise ValueError(f"{size_bytes} bytes, at most {MAX_PICKLE_BYTES} are read")
    return read_array_pickle(path.read_bytes())


@contextmanager
def _explain(path: Path) -> Iterator[None]:
    """Raise what the readers raise for a damaged or hostile file as a WeightError."""
    try:
        yield
    except _READ_ERRORS as error:
        reason = str(error).strip().split("\n")[0][:_SHOWN] or type(error).__name__
        raise WeightError(
            f"cannot read weights {path}: damaged, or it holds more than tensors and plain data, "
            f"which is never run ({reason}); save a state_dict or fetch the file again"
        ) from error


def _find_metadata(content: Any) -> dict[str, str]:
    """The text metadata of a torch file."""
    if not isinstance(content, Mapping):
        return {}
    own = content.get(DESCRIPTION)
    said = {"cfg": content.get("cfg"), **(own if isinstance(own, Mapping) else {})}
    return {
        key: value for key, value in said.items() if isinstance(key, str) and isinstance(value, str)
    }


def _find_state(content: Any, path: Path) -> Mapping[str, Any]:
    """The mapping of keys to tensors, or to their stand-ins, in the content of a file."""
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
        names = [short_repr(key) for key in strangers[:20]]
        shown = ", ".join(names) or "nothing at all"
        raise WeightError(
            f"cannot read weights {path}: expected only named tensors, at the top or under "
            f"{' or '.join(_WRAPPERS)}, but it holds {shown}"
            + (f" ({len(strangers)} in all)" if strangers else "")
        )
    return state


def _is_plain_tensor(key: object, value: object) -> bool:
    is_name = isinstance(key, str) and len(key) <= MAX_KEY_LETTERS
    return is_name and isinstance(value, Tensor | PickledTensor)
