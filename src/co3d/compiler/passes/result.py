"""What a pass over the clip graph reports; exact passes and rewrites return the same record."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import fx

from co3d.compiler.rules.registry import UnsupportedError


@dataclass(frozen=True)
class PassResult:
    """What one pass did to the clip graph.

    Attributes:
        changed: whether it changed the graph at all.
        approximations: one line per place where the network now computes something else; exact
            passes have none.
        refusals: nodes that the pass should have rewritten and could not, each with the reason.
    """

    changed: bool
    approximations: tuple[str, ...] = ()
    refusals: Mapping[fx.Node, UnsupportedError] = field(default_factory=dict)
