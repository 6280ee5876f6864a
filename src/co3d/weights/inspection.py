"""Describe a checkpoint file without a network to load it into."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from co3d.weights.checkpoints import read_checkpoint
from co3d.weights.containers import find_container
from co3d.weights.families import name_family
from co3d.weights.keymaps import match_keys
from co3d.weights.load import compare_tensors, is_finite

Candidates = Mapping[str, tuple[nn.Module, str]]
"""Name -> network, on any device, and the path of its classifier."""


@dataclass(frozen=True)
class Inspection:
    """The description of a checkpoint.

    Attributes:
        container: of the file.
        key_format: the library whose names its keys have; None if unknown.
        fits: networks that all tensors fit, except for the number of classes.
        closest: of the networks that half of the tensors fit, the one with the fewest problems, and
            their number; None if some network fits, or none is close.
        tensors: key -> shape.
        numbers: total number of elements.
        dtypes: data type -> number of tensors.
        not_finite: keys of tensors that hold NaN or infinite values.
        metadata: text beside the tensors.
    """

    container: str
    key_format: str | None
    fits: list[str]
    closest: tuple[str, int] | None
    tensors: dict[str, tuple[int, ...]]
    numbers: int
    dtypes: dict[str, int]
    not_finite: list[str]
    metadata: dict[str, str]


def inspect_checkpoint(path: Path, candidates: Candidates) -> Inspection:
    """Read a checkpoint, and find which of the networks it fits.

    Raises:
        WeightError: the file is absent, damaged, of another kind, or holds more than plain data.
    """
    checkpoint = read_checkpoint(path)
    tensors = checkpoint.tensors
    found = {
        name: compare_tensors(model, tensors, replaceable=classifier)
        for name, (model, classifier) in candidates.items()
    }
    problems = {name: likeness.problems for name, likeness in found.items() if likeness.is_close}
    closest = min(problems, key=lambda name: problems[name], default=None)
    key_format = name_family(tensors)
    if closest is not None:
        match = match_keys(tensors, candidates[closest][0].state_dict())
        key_format = match.key_map.title
    fits = [name for name, count in problems.items() if count == 0]
    dtypes = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values())
    return Inspection(
        container=find_container(path),
        key_format=key_format,
        fits=fits,
        closest=None if fits or closest is None else (closest, problems[closest]),
        tensors={key: tuple(tensor.shape) for key, tensor in tensors.items()},
        numbers=sum(tensor.numel() for tensor in tensors.values()),
        dtypes=dict(dtypes),
        not_finite=[key for key, tensor in tensors.items() if not is_finite(tensor)],
        metadata=dict(checkpoint.metadata),
    )
