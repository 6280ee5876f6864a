"""Names of classes, and how many of them a prediction shows."""

from collections.abc import Sequence
from typing import Any

from co3d.compiler.program import Program
from co3d.errors import OptionError
from co3d.models import ModelCard

USUAL_TOP_K = 3


def list_labels(program: Program[Any], card: ModelCard) -> tuple[str, ...]:
    """K names, index 0 first: the card's, or numbers where it has none."""
    classes = program.output_shape[-1]
    return card.labels or tuple(f"class {index}" for index in range(classes))


def check_top_k(top_k: int | None, labels: Sequence[str], network: str) -> int:
    """How many of the likeliest labels to show; None takes 3, or as many as there are.

    Raises:
        OptionError: it is not 1 to the number of classes.
    """
    classes = len(labels)
    if top_k is None:
        return min(USUAL_TOP_K, classes)
    if not 1 <= top_k <= classes:
        raise OptionError(
            f"cannot show the {top_k} likeliest labels: {network} has {classes}; "
            f"use --top 1 to --top {classes}"
        )
    return top_k
