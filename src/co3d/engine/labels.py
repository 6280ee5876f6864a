"""Names of classes, and which of them a prediction shows."""

import math
from typing import Any

import numpy as np
import torch

from co3d.compiler.program import Program
from co3d.errors import OptionError
from co3d.models import ModelCard

USUAL_TOP_K = 3


def list_labels(program: Program[Any], card: ModelCard) -> tuple[str, ...]:
    """K names, index 0 first: the card's, or numbers where it has none."""
    classes = program.output_shape[-1]
    return card.labels or tuple(f"class {index}" for index in range(classes))


class TopLabels:
    """Picks the likeliest labels.

    Args:
        labels: K names, index 0 first.
        top_k: how many to pick, at most. threshold: a probability that they must reach.
    """

    def __init__(self, labels: tuple[str, ...], top_k: int, threshold: float = 0.0) -> None:
        self._labels, self._top_k = labels, top_k
        # Probabilities are float32, and a label of just the threshold reaches it.
        self._threshold = float(np.float32(threshold))

    def pick(self, probabilities: np.ndarray) -> tuple[tuple[str, float], ...]:
        """Labels with their probabilities, likeliest first, of (K,) float32."""
        values, indices = torch.from_numpy(probabilities).topk(self._top_k)
        return tuple(
            (self._labels[index], value)
            for index, value in zip(indices.tolist(), values.tolist(), strict=True)
            if value >= self._threshold
        )


def check_top_k(top_k: int | None, labels: tuple[str, ...], network: str) -> int:
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


def check_display(threshold: float, smooth_seconds: float) -> None:
    """Refuse a threshold or a smoothing that cannot work.

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
