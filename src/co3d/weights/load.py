"""Load a checkpoint into a network, completely or not at all."""

import functools
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from co3d.errors import WeightError
from co3d.weights.checkpoints import read_checkpoint
from co3d.weights.containers import Checkpoint
from co3d.weights.families import explain_foreign_part, name_family
from co3d.weights.keymaps import match_keys

_LOG = logging.getLogger("co3d")
_SHOWN, _KEYS_SHOWN = 20, 3
_PART = 1 << 24
_MOST_CLASSES = 1 << 17
CLOSE = 0.5
"""Share of a file's tensors that must fit a network for the file to count as similar."""

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

Builders = Mapping[str, Callable[[], nn.Module]]


@dataclass(frozen=True)
class _Fit:
    """The assignment of a file's tensors to a network's, and the problems."""

    tensors: dict[str, Tensor]
    complaints: list[str]
    replaced: list[str]
    outside: tuple[str, ...]


def load_weights(
    model: nn.Module,
    source: Path | str | Checkpoint,
    *,
    replaceable: str = "",
    others: Builders | None = None,
) -> None:
    """Copy the tensors of a checkpoint into `model`, cast to the model's own precision.

    NaN or infinite weights are loaded, with a logged warning that names the tensor.

    Args:
        model: network to fill.
        source: a file in any supported container and key format, or a checkpoint already read.
        replaceable: path of a submodule, such as a resized classifier, that keeps its own values if
            the file's have another shape; a warning is logged.
        others: builders of other networks by name; the error names those that fit better.

    Raises:
        WeightError: the file cannot be read, or a key is superfluous, missing, or has another shape
            or type. The model is then unchanged.
    """
    checkpoint = source if isinstance(source, Checkpoint) else read_checkpoint(source)
    origin = checkpoint.origin
    fit = _fit(model, checkpoint.tensors, replaceable)
    if fit.complaints:
        raise WeightError(
            f"weights {origin} do not fit {_title(model)}: {_list_first(fit.complaints)}; "
            + _advise(checkpoint.tensors, others or {}, fit)
        )
    for name, tensor in fit.tensors.items():
        if not is_finite(tensor):
            _LOG.warning("weights %s: %s holds NaN or infinite values", origin, name)
    if fit.outside:
        shown = ", ".join(fit.outside[:_SHOWN])
        _LOG.warning("weights %s: left out what is not the network's: %s", origin, shown)
    if fit.replaced:
        _LOG.warning(
            "weights %s: %s has another number of classes and starts at random values",
            origin,
            replaceable,
        )
    model.load_state_dict(fit.tensors, strict=False)


def count_outputs(checkpoint: Checkpoint, classifier: str) -> int | None:
    """Rows of the classifier in a checkpoint; None where it has none.

    Args:
        classifier: path of the layer in the network.

    Raises:
        WeightError: there are more than any network has, which would be built with as many.
    """
    name = f"{classifier}.weight"
    key = match_keys(checkpoint.tensors, [name]).source_of.get(name)
    shape = checkpoint.tensors[key].shape if key else ()
    if shape and shape[0] > _MOST_CLASSES:
        raise WeightError(
            f"cannot use weights {checkpoint.origin}: {key} is of {shape[0]} classes, expected "
            f"{_MOST_CLASSES} at most; check that the file belongs to this model"
        )
    return shape[0] or None if shape else None


def is_finite(tensor: Tensor) -> bool:
    """Whether a tensor of any type is free of NaN and infinite values."""
    # Tested in parts, because the test needs as much memory as the tensor. Eight-bit types are
    # converted first, as they have no such test.
    return all(
        bool(torch.isfinite(part if part.element_size() > 1 else part.float()).all())
        for part in tensor.reshape(-1).split(_PART)
    )


@dataclass(frozen=True)
class Likeness:
    """How well the tensors of a file fit a network.

    Attributes:
        problems: tensors that are superfluous, missing, or have another shape or type.
        fitting: share of the file's tensors that fit.
    """

    problems: int
    fitting: float

    @property
    def is_close(self) -> bool:
        """Whether the file is likely to belong to this network or a similar one."""
        return self.fitting >= CLOSE


def compare_tensors(
    model: nn.Module, tensors: Mapping[str, Tensor], replaceable: str = ""
) -> Likeness:
    """How well the tensors of a file fit a network, whose `replaceable` part may have any size."""
    fit = _fit(model, tensors, replaceable)
    fitting = len(fit.tensors) + len(fit.replaced)
    return Likeness(len(fit.complaints), fitting / max(len(tensors), 1))


def _fit(model: nn.Module, tensors: Mapping[str, Tensor], replaceable: str) -> _Fit:
    own = model.state_dict()
    match = match_keys(tensors, own)
    got = {
        name: _drop_ones(tensors[key], own[name].shape)
        if match.key_map.ignores_ones
        else tensors[key]
        for name, key in match.source_of.items()
    }
    replaced = []
    if replaceable:
        head = [name for name in got if name.startswith(f"{replaceable}.")]
        if any(got[name].shape != own[name].shape for name in head):
            replaced = head
    complaints = [f"{key} left over" for key in match.unused]
    complaints += [f"{name} missing" for name in match.missing]
    refused: Mapping[str, str] = getattr(model, "refused_formats", {})
    if match.key_map.title in refused:
        complaints.append(refused[match.key_map.title])
    fitting = {}
    for name, tensor in got.items():
        if name in replaced:
            continue
        key, expected = match.source_of[name], own[name]
        if tensor.shape != expected.shape:
            complaints.append(
                f"{key} has shape {tuple(tensors[key].shape)}, expected {tuple(expected.shape)}"
            )
        elif expected.is_floating_point() != (tensor.dtype in _FLOATS):
            complaints.append(f"{key} is {tensor.dtype}, expected {expected.dtype}")
        else:
            fitting[name] = tensor.to(expected.dtype)
    if not match.missing:
        for path in match.key_map.absent_norms:
            norm = model.get_submodule(path)
            assert isinstance(norm, nn.BatchNorm3d)
            fitting |= _make_identity(norm, path)
    return _Fit(fitting, complaints, replaced, match.outside)


def _make_identity(norm: nn.BatchNorm3d, path: str) -> dict[str, Tensor]:
    """The tensors of a batch norm that is the identity."""
    state = {name: torch.zeros_like(value) for name, value in norm.state_dict().items()}
    state["weight"] += 1
    state["running_var"] += 1 - norm.eps
    return {f"{path}.{name}": value for name, value in state.items()}


def _drop_ones(tensor: Tensor, expected: torch.Size) -> Tensor:
    """The tensor in the expected shape, if the two differ only by sizes of one."""
    if [size for size in tensor.shape if size != 1] == [size for size in expected if size != 1]:
        return tensor.reshape(expected)
    return tensor


def _list_first(complaints: list[str]) -> str:
    rest = len(complaints) - _SHOWN
    more = f", and {rest} more" if rest > 0 else ""
    return f"{len(complaints)} problems: {', '.join(complaints[:_SHOWN])}{more}"


def describe_keys(keys: Collection[str]) -> str:
    """A few keys of a file, and the library whose keys they resemble."""
    shown = ", ".join(list(keys)[:_KEYS_SHOWN])
    family = name_family(keys)
    like = f"look like those of {family}" if family else "are like those of no library known here"
    return f"its keys, such as {shown}, {like}"


@functools.cache
def _sketch(build: Callable[[], nn.Module]) -> nn.Module:
    """A network without memory, which has names and shapes alone."""
    with torch.device("meta"):
        return build()


def _advise(tensors: Mapping[str, Tensor], others: Builders, own: _Fit) -> str:
    """Say why no network fits, name those that a file fits better, or else its likely library."""
    foreign = explain_foreign_part(tensors)
    if foreign:
        return f"{foreign}; convert the network as your own (FILE.py:FACTORY)"
    found = {name: compare_tensors(_sketch(build), tensors) for name, build in others.items()}
    close = {name: likeness.problems for name, likeness in found.items() if likeness.is_close}
    fewest = min(close.values(), default=len(own.complaints))
    if fewest < len(own.complaints):
        names = " or ".join(name for name, count in close.items() if count == fewest)
        if fewest == 0:
            return f"all of them fit {names}: choose that model"
        return f"no network fits; with {fewest} problems they come closest to {names}"
    if len(own.tensors) >= CLOSE * len(tensors):
        return "check that the file belongs to this model"
    return f"{describe_keys(tensors)}; check that the file belongs to this model"


def _title(model: nn.Module) -> str:
    card = getattr(model, "card", None)
    return type(model).__name__ if card is None else card.name
