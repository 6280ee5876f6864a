"""Losses for one class per clip, or any number of classes."""

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
        class_weights: (K,) from `balance`; in binary cross-entropy they weight positive against
            negative targets of a class.
    """
    smoothing = section.label_smoothing
    if section.kind == "cross_entropy":
        return F.cross_entropy(logits, target, weight=class_weights, label_smoothing=smoothing)
    truth = target.to(logits.dtype) * (1 - smoothing) + smoothing / 2
    return F.binary_cross_entropy_with_logits(logits, truth, pos_weight=class_weights)


def balance(section: LossSection, counts: Sequence[int], videos: int) -> Tensor | None:
    """Weights (K,) that balance the classes, from the number of videos of each; None for none.

    For cross-entropy their mean over all videos is 1; for binary cross-entropy the positives of a
    class weigh as much as its negatives. Classes without videos have a weight of 0 in the first,
    and 1 in the second.
    """
    if section.class_weights == "none":
        return None
    present = torch.tensor(counts, dtype=torch.float32)
    if section.kind == "cross_entropy":
        shown = int((present > 0).sum())
        return torch.where(present > 0, videos / (shown * present), 0.0)
    return torch.where(present > 0, (videos - present) / present, 1.0).clamp(min=1e-3)
