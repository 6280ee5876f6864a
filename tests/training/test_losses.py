"""Losses against their formulas, written out in NumPy."""

import numpy as np
import pytest
import torch

from co3d.training.losses import balance, compute_loss
from co3d.training.recipe import LossSection

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(5, 3, generator=GENERATOR, dtype=torch.float64)
LABELS = torch.tensor([0, 2, 1, 1, 0])


def softmax_loss(logits, shares):
    shifted = logits - logits.max(1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return float(-(shares * logs).sum(1).mean())


def test_cross_entropy_supports_smoothing_and_soft_targets():
    one_hot = np.eye(3)[LABELS.numpy()]
    section = LossSection(label_smoothing=0.3)
    expected = softmax_loss(LOGITS.numpy(), 0.7 * one_hot + 0.1)
    assert float(compute_loss(section, LOGITS, LABELS)) == pytest.approx(expected)
    shares = torch.tensor(one_hot)
    assert float(compute_loss(section, LOGITS, shares)) == pytest.approx(expected)


def test_binary_cross_entropy_supports_smoothing():
    truth = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0], [0, 0, 1]])
    smooth = 0.8 * truth.numpy() + 0.1
    p = 1 / (1 + np.exp(-LOGITS.numpy()))
    expected = float(-(smooth * np.log(p) + (1 - smooth) * np.log(1 - p)).mean())
    section = LossSection(kind="binary_cross_entropy", label_smoothing=0.2)
    assert float(compute_loss(section, LOGITS, truth)) == pytest.approx(expected)


def test_balanced_weights_give_every_class_the_same_weight_in_total():
    counts = (10, 30, 60)
    weights = balance(LossSection(class_weights="balanced"), counts, 100)
    assert weights is not None
    totals = weights * torch.tensor(counts)
    torch.testing.assert_close(totals, totals.mean().expand(3))
    assert float(totals.sum()) == pytest.approx(100)
    binary = LossSection(kind="binary_cross_entropy", class_weights="balanced")
    presence = balance(binary, counts, 100)
    assert presence is not None
    assert presence.tolist() == pytest.approx([9, 70 / 30, 40 / 60])
    assert balance(LossSection(), counts, 100) is None


def test_classes_without_videos_have_weight_zero():
    section = LossSection(class_weights="balanced", label_smoothing=0.1)
    weights = balance(section, (10, 0, 30), 40)
    assert weights is not None
    assert weights.tolist() == pytest.approx([2.0, 0.0, 2 / 3])
    loss = compute_loss(section, torch.zeros(2, 3), torch.tensor([0, 2]), weights)
    assert torch.isfinite(loss)
    binary = LossSection(kind="binary_cross_entropy", class_weights="balanced")
    presence = balance(binary, (10, 0), 40)
    assert presence is not None
    assert presence.tolist() == [3.0, 1.0]
