"""The result of an exact pass or a rewrite of the clip graph."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import fx

from co3d.compiler.rules.registry import UnsupportedError


@dataclass(frozen=True)
class PassResult:
    """What one pass did to the clip graph.

    Attributes:
        changed: whether it changed the graph at all.
        approximations: one line per change of what the network computes; exact passes have none.
        refusals: nodes that the pass could not rewrite, each with the reason.
    """

    changed: bool
    approximations: tuple[str, ...] = ()
    refusals: Mapping[fx.Node, UnsupportedError] = field(default_factory=dict)
