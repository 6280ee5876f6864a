"""How a network packs its results: tensors, with nothing in some places."""

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
    """A None among the results. To a `TreeSpec` it is a node without leaves, and not a leaf."""


register_pytree_node(
    Nothing, lambda _: ([], None), lambda *_: None, serialized_type_name=f"{__name__}.Nothing"
)


def drop_nothing(spec: TreeSpec, leaves: Sequence[Any]) -> TreeSpec:
    """The structure of results whose leaves are tensors, from one that has a leaf for each None.

    Args:
        spec: with a leaf for everything.
        leaves: one per leaf, None where the network returns None.
    """
    marked = [Nothing() if leaf is None else 0 for leaf in leaves]
    return tree_structure(tree_unflatten(marked, spec))


def list_tensors(results: Any) -> list[Tensor]:
    """The tensors in what a network returned, in their order."""
    return [leaf for leaf in tree_leaves(results) if isinstance(leaf, Tensor)]
