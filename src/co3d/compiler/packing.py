"""The structure of a network's results, in which some leaves may be None."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils._pytree import (
    TreeSpec,
    register_pytree_node,
    tree_leaves,
    tree_structure,
    tree_unflatten,
)


class Nothing:
    """Stands for None in a `TreeSpec`, as a node without leaves; None itself would be a leaf."""


register_pytree_node(
    Nothing, lambda _: ([], None), lambda *_: None, serialized_type_name=f"{__name__}.Nothing"
)


def drop_nothing(spec: TreeSpec, leaves: Sequence[Any]) -> TreeSpec:
    """Replace the leaves of a structure that are None by `Nothing`, so that all are tensors.

    Args:
        spec: the structure, with a leaf for each tensor and each None.
        leaves: its leaves.
    """
    marked = [Nothing() if leaf is None else 0 for leaf in leaves]
    return tree_structure(tree_unflatten(marked, spec))


def list_tensors(results: Any) -> list[Tensor]:
    """The tensors in what a network returned, in their order."""
    return [leaf for leaf in tree_leaves(results) if isinstance(leaf, Tensor)]
