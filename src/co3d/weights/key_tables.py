"""Tables of a publisher's module names for networks of stages and blocks."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class KeyTable:
    """Names of modules in a publisher's files, and ours.

    Attributes:
        ends: their path of a module outside of blocks -> ours.
        block: pattern of their path of a module in a block. All groups but the last are the block's
            position, numbers or names; the last is the path inside of the block.
        place: our path of the block at that position; None if no network has one.
        inside: their path inside of a block -> ours.
        leaves: their name of a module's tensor -> ours, if it differs.
    """

    ends: Mapping[str, str]
    block: re.Pattern[str]
    place: Callable[..., str | None]
    inside: Mapping[str, str]
    leaves: Mapping[str, str] = field(default_factory=dict)

    def rename(self, key: str) -> str | None:
        """Our name for a key of such a file; None for other keys."""
        module, _, leaf = key.rpartition(".")
        name = self._rename_module(module)
        return None if name is None else f"{name}.{self.leaves.get(leaf, leaf)}"

    def _rename_module(self, module: str) -> str | None:
        if module in self.ends:
            return self.ends[module]
        found = self.block.fullmatch(module)
        if found is None:
            return None
        *position, inside = found.groups()
        place = self.place(*(int(part) if part.isdigit() else part for part in position))
        if place is None or inside not in self.inside:
            return None
        return f"{place}.{self.inside[inside]}"


BOTTLENECK = (
    ("shortcut.conv", "shortcut.norm"),
    ("reduce", "reduce_norm"),
    ("spatial", "spatial_norm"),
    ("expand", "expand_norm"),
)
"""Our names of the convolution and the norm of a shortcut and of a bottleneck's three layers."""

SEPARATED = (*BOTTLENECK[:2], ("depthwise", "depthwise_norm"), BOTTLENECK[3])
"""The same for a bottleneck whose second convolution is depthwise in space-time (CSN)."""

MOBILE = (
    *BOTTLENECK[:1],
    ("expand", "expand_norm"),
    ("depthwise", "depthwise_norm"),
    ("project", "project_norm"),
)
"""The same for a block that expands (X3D, MobileNetV2)."""


def name_layers(
    theirs: tuple[tuple[str, str], ...], ours: tuple[tuple[str, str], ...]
) -> dict[str, str]:
    """Their names of convolutions and norms -> ours, layer by layer."""
    return {
        their: our
        for their_layer, our_layer in zip(theirs, ours, strict=True)
        for their, our in zip(their_layer, our_layer, strict=True)
    }
