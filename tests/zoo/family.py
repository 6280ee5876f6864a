"""What the zoo knows of a family of networks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

Kind = Literal["exact", "approximated", "fallback"]
PER_FRAME = "pools each frame instead of the whole clip"
NEWEST = "pools the newest frames instead of the whole clip"
ATTENDS = "attends to the newest frames instead of"
NORMALISES = "normalises by the newest frames instead of the whole clip"


@dataclass(frozen=True)
class Family:
    """A kind of network.

    Attributes:
        name: as papers call it.
        paper: an arXiv number, or where it was published.
        make: builds a small one.
        clip: (C, T, H, W), or one such shape per input.
        kind: whether its steps equal the clip network, the clip network after the rewrites that
            `approximations` lists, or only with a part of it rerun on whole clips.
        shorter: a further clip length, which it takes as well.
        time_axes: per output, without the batch, where it has an element per frame; None where
            an output has one value per clip. One number stands for all outputs.
        approximations: of each line of the program's approximations, a part.
        because: what a fallback reruns: a part of its message.
        windowed: of each line of the approximations with scope="window", a part, where that
            converts what is else rerun.
        stride: frames between its results.
        native_only: it enlarges time, and so runs at native rate alone.
    """

    name: str
    paper: str
    make: Callable[[], nn.Module]
    clip: tuple[int, ...] | tuple[tuple[int, ...], ...]
    kind: Kind = "exact"
    shorter: int | None = None
    time_axes: int | tuple[int | None, ...] | None = None
    approximations: tuple[str, ...] = ()
    because: str = ""
    windowed: str = ""
    stride: int = 1
    native_only: bool = False

    @property
    def clips(self) -> tuple[tuple[int, ...], ...]:
        """One shape per input."""
        return self.clip if isinstance(self.clip[0], tuple) else (self.clip,)  # type: ignore[return-value]

    @property
    def frames(self) -> int:
        """Frames of the clips that it is trained on."""
        return self.clips[0][1]


def exact(name: str, paper: str, make: Callable[[], nn.Module], clip: tuple, **more: Any) -> Family:
    return Family(name, paper, make, clip, "exact", **more)


def approximated(
    name: str,
    paper: str,
    make: Callable[[], nn.Module],
    clip: tuple,
    *lines: str,
    **more: Any,
) -> Family:
    return Family(name, paper, make, clip, "approximated", approximations=lines, **more)


def fallback(
    name: str,
    paper: str,
    make: Callable[[], nn.Module],
    clip: tuple,
    because: str,
    **more: Any,
) -> Family:
    return Family(name, paper, make, clip, "fallback", because=because, **more)
