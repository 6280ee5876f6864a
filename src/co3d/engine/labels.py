"""Names of classes, and the choice of those that a prediction shows."""

import math
from typing import Any

import numpy as np

from co3d.compiler.program import Program
from co3d.errors import OptionError
from co3d.models import ModelCard

USUAL_TOP_K = 3


def list_labels(program: Program[Any], card: ModelCard) -> tuple[str, ...]:
    """K names, index 0 first: the card's labels, or "class 0" and so on where it has none."""
    classes = program.output_shape[-1]
    return card.labels or tuple(f"class {index}" for index in range(classes))


class TopLabels:
    """Picks the likeliest labels.

    Args:
        labels: K names, index 0 first.
        top_k: the most labels to pick. threshold: the probability that they must reach.
    """

    def __init__(self, labels: tuple[str, ...], top_k: int, threshold: float = 0.0) -> None:
        self._labels, self._top_k = labels, top_k
        # Rounded to float32 as probabilities are, so that a label of exactly the threshold counts.
        self._threshold = float(np.float32(threshold))

    def pick(self, probabilities: np.ndarray) -> tuple[tuple[str, float], ...]:
        """Labels with their probabilities, likeliest first, of (K,) float32."""
        # NumPy, because PyTorch's operators release the GIL and then wait to get it back.
        likeliest = np.argsort(-probabilities, kind="stable")[: self._top_k]
        return tuple(
            (self._labels[index], value)
            for index, value in zip(
                likeliest.tolist(), probabilities[likeliest].tolist(), strict=True
            )
            if value >= self._threshold
        )


def check_top_k(top_k: int | None, labels: tuple[str, ...], network: str) -> int:
    """Check how many of the likeliest labels to show; None gives 3, or all if there are fewer.

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


def check_display(threshold: float, smooth_seconds: float) -> None:
    """Check a threshold and a smoothing time.

    Raises:
        OptionError: one of them is out of range.
    """
    if not 0 <= threshold <= 1:
        raise OptionError(
            f"cannot show labels of a probability from {threshold:g} on: expected 0 to 1; "
            "use 0.5 for half"
        )
    if not 0 <= smooth_seconds < math.inf:
        raise OptionError(
            f"cannot smooth over {smooth_seconds:g} s: expected 0 or more; use 0 not to smooth"
        )
