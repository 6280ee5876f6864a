"""Load a checkpoint into a network, all of it or not at all."""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from co3d.errors import WeightError
from co3d.weights.checkpoints import read_checkpoint
from co3d.weights.containers import Checkpoint
from co3d.weights.families import name_family
from co3d.weights.keymaps import match_keys

_LOG = logging.getLogger("co3d")
_SHOWN, _KEYS_SHOWN = 20, 3
_PART = 1 << 24
CLOSE = 0.5
"""Share of a file's tensors that must fit a network for the file to be taken for its kind."""

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

Builders = Mapping[str, Callable[[], nn.Module]]


@dataclass(frozen=True)
class _Fit:
    """Which tensors of a file go where, and every complaint about the others."""

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

    NaN or infinite weights are loaded, and logged as a warning that names the tensor.

    Args:
        model: network to fill.
        source: a file in any container and key format that co3d reads, or one already read.
        replaceable: path of a submodule, such as a resized classifier, that keeps its own values
            where those of the file have another shape; this is logged as a warning.
        others: builders of other networks by name; the error names those that fit better.

    Raises:
        WeightError: the file cannot be read, or a key is left over, missing, or of another shape
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


def is_finite(tensor: Tensor) -> bool:
    """Whether a tensor of any type is free of NaN and infinite values."""
    # In parts: the test takes as much memory again as what it looks at. The eight-bit types have no
    # test of their own.
    return all(
        bool(torch.isfinite(part if part.element_size() > 1 else part.float()).all())
        for part in tensor.reshape(-1).split(_PART)
    )


@dataclass(frozen=True)
class Likeness:
    """How well the tensors of a file fit a network.

    Attributes:
        problems: tensors that are left over, missing, or of another shape or type.
        fitting: share of the file's tensors that fit.
    """

    problems: int
    fitting: float

    @property
    def is_close(self) -> bool:
        """Whether the file is likely to be one of this network, or of a near relation."""
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
    replaced = []
    if replaceable:
        head = [name for name in match.source_of if name.startswith(f"{replaceable}.")]
        if any(tensors[match.source_of[name]].shape != own[name].shape for name in head):
            replaced = head
    complaints = [f"{key} left over" for key in match.unused]
    complaints += [f"{name} missing" for name in match.missing]
    fitting = {}
    for name, key in match.source_of.items():
        if name in replaced:
            continue
        got, expected = tensors[key], own[name]
        missing_sizes = expected.ndim - got.ndim
        if match.key_map.drops_trailing_ones and missing_sizes > 0:
            got = got.reshape(*got.shape, *[1] * missing_sizes)
        if got.shape != expected.shape:
            complaints.append(
                f"{key} has shape {tuple(got.shape)}, expected {tuple(expected.shape)}"
            )
        elif expected.is_floating_point() != (got.dtype in _FLOATS):
            complaints.append(f"{key} is {got.dtype}, expected {expected.dtype}")
        else:
            fitting[name] = got.to(expected.dtype)
    return _Fit(fitting, complaints, replaced, match.outside)


def _list_first(complaints: list[str]) -> str:
    rest = len(complaints) - _SHOWN
    more = f", and {rest} more" if rest > 0 else ""
    return f"{len(complaints)} problems: {', '.join(complaints[:_SHOWN])}{more}"


def describe_keys(keys: Collection[str]) -> str:
    """A few keys of a file, and whose they look like."""
    shown = ", ".join(list(keys)[:_KEYS_SHOWN])
    family = name_family(keys)
    like = f"look like those of {family}" if family else "are like those of no library known here"
    return f"its keys, such as {shown}, {like}"


def _advise(tensors: Mapping[str, Tensor], others: Builders, own: _Fit) -> str:
    """Name the networks that a file fits better than its own, or else whose file it seems to be."""
    with torch.device("meta"):
        found = {name: compare_tensors(build(), tensors) for name, build in others.items()}
    close = {name: likeness.problems for name, likeness in found.items() if likeness.is_close}
    fewest = min(close.values(), default=len(own.complaints))
    if fewest < len(own.complaints):
        names = " or ".join(name for name, count in close.items() if count == fewest)
        how_well = (
            "all of them fit" if fewest == 0 else f"with {fewest} problems they come closest to"
        )
        return f"{how_well} {names}: choose that model"
    if len(own.tensors) >= CLOSE * len(tensors):
        return "check that the file belongs to this model"
    return f"{describe_keys(tensors)}; check that the file belongs to this model"


def _title(model: nn.Module) -> str:
    card = getattr(model, "card", None)
    return type(model).__name__ if card is None else card.name
