"""The head of a clip network: a spatial window that slides over larger frames, then all of time."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Join = Literal["probabilities", "logits"]


class SlidingHead(nn.Module):
    """Average a window in space and all of time, classify each position, join the positions.

    Args:
        in_channels: channels of all pathways together.
        pool_side: side of the square window, as large as the map at the training crop; None for
            the whole map, whatever its size.
        num_classes: K.
        dropout: probability of dropping a pooled feature in training.
        join: what to average over the positions of a larger map, as upstream does; see
            `join_positions`.
    """

    def __init__(
        self, in_channels: int, pool_side: int | None, num_classes: int, dropout: float, join: Join
    ) -> None:
        super().__init__()
        self.pool_side = pool_side
        self.join: Join = join
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(in_channels, num_classes)

    def forward(self, *pathways: Tensor) -> Tensor:
        """Maps (N, C, T, h, w) that may differ in C and T -> (N, K)."""
        pooled = [pool_positions(x, self.pool_side) for x in pathways]
        x = self.dropout(pooled[0] if len(pooled) == 1 else torch.cat(pooled, 1))
        return join_positions(x, self.classifier, self.join)


def pool_positions(x: Tensor, side: int | None) -> Tensor:
    """Average a sliding square in space and all of time: (N, C, T, h, w) -> (N, C, 1, h', w').

    The square is clamped to the map and moves by one pixel, so a map that is not larger gives one
    position; so does every map if the side is None.
    """
    height, width = x.shape[3:]
    window = (1, min(side or height, height), min(side or width, width))
    # Space before time, so that the mean over time has a small input.
    return F.avg_pool3d(x, window, stride=1).mean(2, keepdim=True)


def join_positions(x: Tensor, classifier: nn.Linear, join: Join) -> Tensor:
    """Classify each position and join them: (N, C, 1, h, w) -> (N, K).

    A single position gives its logits. Several give the mean of their logits, or the logarithm of
    the mean of their probabilities, so that the softmax of the output is that mean.
    """
    positions = x.shape[3] * x.shape[4]
    if positions == 1:
        return classifier(x.flatten(1))
    logits = classifier(x.flatten(2).transpose(1, 2))
    if join == "logits":
        return logits.mean(1)
    return logits.log_softmax(-1).logsumexp(1) - math.log(positions)
