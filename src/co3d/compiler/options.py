"""Validates the clip shapes and the options of a conversion."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from co3d.compiler.capture import ClipShape
from co3d.compiler.program import Edges, Rate, Scope
from co3d.errors import OptionError


@dataclass(frozen=True)
class ConvertOptions:
    """The options of `convert`, for every stage of the pipeline.

    Attributes:
        window, rate, scope, edges, fallback, spread: as for `co3d.convert`.

    Raises:
        OptionError: an option outside its range.
    """

    window: int | None = None
    rate: Rate = "dense"
    scope: Scope = "frame"
    edges: Edges = "start"
    fallback: bool = False
    spread: bool = False

    def __post_init__(self) -> None:
        if self.window is not None and operator.index(self.window) < 1:
            raise OptionError(
                f"cannot convert: got window {self.window}, expected at least 1 frame; leave it "
                "out for the training clip's length"
            )
        for name, kind in (("rate", Rate), ("scope", Scope), ("edges", Edges)):
            value, allowed = getattr(self, name), get_args(kind)
            if value not in allowed:
                *first, last = map(repr, allowed)
                raise OptionError(
                    f"cannot convert: got {name}={value!r}, expected {', '.join(first)} or {last}"
                )
        if self.spread and self.rate != "native":
            raise OptionError(
                f"cannot convert: got spread=True with rate={self.rate!r}, where all steps cost "
                'the same; use it with rate="native"'
            )

    @property
    def is_dense(self) -> bool:
        """Whether every frame gets a result."""
        return self.rate == "dense"


def check_clip_shapes(
    clip_shape: Sequence[int] | Sequence[Sequence[int]],
) -> tuple[ClipShape, ...]:
    """One (C, T, H, W) per input; OptionError for anything else."""
    several = len(clip_shape) > 0 and isinstance(clip_shape[0], Sequence)
    given: Any = clip_shape if several else [clip_shape]
    shapes: tuple[ClipShape, ...] = tuple(tuple(shape) for shape in given)
    for shape in shapes:
        if len(shape) != 4 or any(operator.index(size) < 1 for size in shape):
            raise OptionError(
                f"cannot convert: got clip_shape {tuple(clip_shape)}, expected four positive sizes "
                "(C, T, H, W), without the batch, or one such shape per input; e.g. "
                "model.card.clip_shape"
            )
    if len({shape[1] for shape in shapes}) != 1:
        raise OptionError(
            f"cannot convert: got inputs of {', '.join(str(s[1]) for s in shapes)} frames, "
            "expected one length: a step takes one frame of each; wrap the model in one that picks "
            "every n-th frame itself (x[:, :, ::n])"
        )
    return shapes
