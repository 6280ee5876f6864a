"""The structure of a network's results as JSON: a tensor, or tuples, lists and dicts of tensors.

It does not use PyTorch's serialisation of pytrees, which imports types that a file names.
"""

from collections import OrderedDict
from typing import Any

from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from co3d.compiler.packing import Nothing
from co3d.errors import ExportError

_TENSOR = object()


def write_structure(spec: TreeSpec) -> Any:
    """None for a tensor, {"tuple": […]}, {"list": […]}, {"dict": {name: …}} or {"none": []}.

    Raises:
        ExportError: the structure has another type.
    """
    return _write(tree_unflatten([_TENSOR] * spec.num_leaves, spec))


def read_structure(raw: Any, outputs: int) -> TreeSpec:
    """Read a structure of `write_structure` with this number of tensors.

    Raises:
        TypeError, ValueError: it is something else.
    """
    spec = tree_flatten(_read(raw))[1]
    if spec.num_leaves != outputs:
        raise ValueError(f"got a structure of {spec.num_leaves} tensors, expected {outputs}")
    return spec


def _write(value: Any) -> Any:
    if value is _TENSOR:
        return None
    if value is None:
        return {"none": []}
    if type(value) in (tuple, list):
        return {type(value).__name__: [_write(item) for item in value]}
    if type(value) in (dict, OrderedDict) and all(isinstance(name, str) for name in value):
        return {"dict": {name: _write(item) for name, item in value.items()}}
    raise ExportError(
        f"cannot export: the network packs its results in a {type(value).__name__}, expected "
        "tuples, lists, or dicts with names; return one of those"
    )


def _read(raw: Any) -> Any:
    if raw is None:
        return 0  # any leaf
    ((kind, content),) = raw.items()
    if kind == "none":
        return Nothing()
    if kind == "dict":
        return {name: _read(item) for name, item in content.items()}
    return {"tuple": tuple, "list": list}[kind](_read(item) for item in content)
