"""Whether a program can label a video frame by frame."""

from typing import Any

from co3d.compiler.program import Program
from co3d.models import ModelCard


def explain_unplayable(
    program: Program[Any], card: ModelCard | None, slots: int | None
) -> str | None:
    """Why a program in a file cannot label a video frame by frame, and what to do; None if it can.

    Args:
        program: that is in the file. card: beside it, if any.
        slots: videos that step together in the file; None where it takes any number.
    """
    if card is None:
        return (
            "it does not say how to prepare a picture; export it with --rate-hz, --mean and --std, "
            "or give export_program a card"
        )
    if (
        len(program.frame_shapes) != 1
        or program.frame_shape != (3, card.crop_px, card.crop_px)
        or len(program.output_shapes) != 1
        or len(program.output_shape) != 1
        or (card.labels and len(card.labels) != program.output_shape[0])
    ):
        return "it is not one classifier of pictures as its card says"
    if program.rate == "native":
        return "it gives no result at every frame; export it with --rate dense"
    if slots not in (None, 1):
        return f"it steps {slots} videos at once; export it with --slots 1"
    return None
