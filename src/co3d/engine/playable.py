"""Checks whether a program can label a video frame by frame."""

from typing import Any

from co3d.compiler.program import Program
from co3d.models import ModelCard


def explain_unplayable(
    program: Program[Any], card: ModelCard | None, slots: int | None
) -> str | None:
    """Why a program cannot label a video frame by frame, and what to do; None if it can.

    Args:
        program: the step program. card: the network's card, if any.
        slots: the number of slots that an exported file is fixed to; None for any number.
    """
    if card is None:
        return (
            "it does not say how to prepare a picture; export it with --rate-hz, --mean, --std and "
            "--labels, or give export_program a card"
        )
    if program.frame_shapes != ((3, card.crop_px, card.crop_px),):
        return (
            f"it takes frames of {_list(program.frame_shapes)}, but its card prepares pictures of "
            f"(3, {card.crop_px}, {card.crop_px}); correct crop_px of the card"
        )
    if len(program.output_shapes) != 1 or len(program.output_shape) != 1:
        return (
            f"it gives outputs of {_list(program.output_shapes)} for a frame, expected one row of "
            "classes (K,); run it with co3d.open_stream in Python"
        )
    if card.labels and len(card.labels) != program.output_shape[0]:
        return (
            f"its card has {len(card.labels)} labels for {program.output_shape[0]} outputs; give "
            "one for each"
        )
    if program.rate == "native":
        return "it gives no result at every frame; export it with --rate dense"
    if slots not in (None, 1):
        return f"it steps {slots} videos at once; export it with --slots 1"
    return None


def _list(shapes: tuple[tuple[int, ...], ...]) -> str:
    return " and ".join(map(str, shapes))
