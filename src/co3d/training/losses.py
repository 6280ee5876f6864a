"""Losses: one class a clip, or any number of them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from co3d.training.recipe import LossSection


def compute_loss(
    section: LossSection, logits: Tensor, target: Tensor, class_weights: Tensor | None = None
) -> Tensor:
    """Mean loss of a batch.

    Args:
        section: which loss.
        logits: (N, K).
        target: (N,) class indices, or (N, K) shares of classes; for binary cross-entropy always
            (N, K).
        class_weights: (K,) from `balance`; in binary cross-entropy they weigh the presence of a
            class against its absence.
    """
    smoothing = section.label_smoothing
    if section.kind == "cross_entropy":
        return F.cross_entropy(logits, target, weight=class_weights, label_smoothing=smoothing)
    truth = target.to(logits.dtype) * (1 - smoothing) + smoothing / 2
    return F.binary_cross_entropy_with_logits(logits, truth, pos_weight=class_weights)


def balance(section: LossSection, counts: Sequence[int], videos: int) -> Tensor | None:
    """Weights (K,) that let every class count alike, from the videos of each; None for no weights.

    For cross-entropy their mean over all videos is 1; for binary cross-entropy a class weighs as
    much where it is present as where it is absent.
    """
    if section.class_weights == "none":
        return None
    present = torch.tensor(counts, dtype=torch.float32)
    if section.kind == "cross_entropy":
        return videos / (len(counts) * present)
    return ((videos - present) / present).clamp(min=1e-3)
