"""Every metric against a reference in plain NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from co3d.evaluation.metrics import (
    as_targets,
    gather_reliability,
    measure_multi_label,
    measure_single_label,
)

CALIBRATION_BINS = 15  # Guo et al., 2017


def draw(seed: int, videos: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(videos, classes, generator=generator) * 2
    labels = torch.randint(classes, (videos,), generator=generator)
    logits[torch.arange(videos), labels] += 1  # better than chance
    return logits, labels


def top_share(probabilities: np.ndarray, labels: np.ndarray, k: int) -> float:
    order = np.argsort(-probabilities, axis=1)[:, :k]
    return float(np.mean([label in row for label, row in zip(labels, order, strict=True)]))


def calibration_error(confidences: np.ndarray, right: np.ndarray) -> float:
    total = 0.0
    bins = np.minimum((confidences * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    for index in range(CALIBRATION_BINS):
        rows = bins == index
        if rows.any():
            total += rows.sum() * abs(confidences[rows].mean() - right[rows].mean())
    return total / len(confidences)


def average_precision(scores: np.ndarray, targets: np.ndarray) -> float:
    """As Charades' script has it: precision at each hit, averaged."""
    hits = targets[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float((precision * hits).sum() / hits.sum())


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), videos=st.integers(1, 60), classes=st.integers(2, 9))
def test_single_label_measures_equal_numpy(seed, videos, classes):
    logits, labels = draw(seed, videos, classes)
    probabilities = logits.softmax(1)
    measures = measure_single_label(probabilities, labels)
    p, y = probabilities.double().numpy(), labels.numpy()
    assert set(measures.top) == {k for k in (1, 3, 5) if k <= classes}
    for k, share in measures.top.items():
        assert share == pytest.approx(top_share(p, y, k), abs=1e-6)
    predicted = p.argmax(1)
    confusion = np.zeros((classes, classes), int)
    np.add.at(confusion, (y, predicted), 1)
    assert measures.confusion.tolist() == confusion.tolist()
    for index, share in enumerate(measures.per_class):
        if (y == index).any():
            assert share == pytest.approx((predicted[y == index] == index).mean(), abs=1e-6)
        else:
            assert share is None
    recalls = [(predicted[y == index] == index).mean() for index in sorted(set(y.tolist()))]
    assert measures.mean_class_accuracy == pytest.approx(np.mean(recalls), abs=1e-6)
    assert measures.calibration_error == pytest.approx(
        calibration_error(p.max(1), predicted == y), abs=1e-5
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), videos=st.integers(2, 60), classes=st.integers(1, 9))
def test_multi_label_measures_equal_numpy(seed, videos, classes):
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.randn(videos, classes, generator=generator).sigmoid()
    targets = torch.rand(videos, classes, generator=generator) < 0.3
    targets[0, 0] = True
    for unlabelled_last in (True, False):
        measures = measure_multi_label(probabilities, targets, unlabelled_last=unlabelled_last)
        scores, y = probabilities.double().numpy(), targets.numpy()
        if unlabelled_last:
            scores = np.where(y.any(1, keepdims=True), scores, -np.inf)
        known = []
        for index in range(classes):
            if y[:, index].any():
                known.append(average_precision(scores[:, index], y[:, index]))
                assert measures.per_class[index] == pytest.approx(known[-1], abs=1e-5)
            else:
                assert measures.per_class[index] is None
        assert measures.mean_average_precision == pytest.approx(np.mean(known), abs=1e-5)
        assert measures.calibration_error == pytest.approx(
            calibration_error(probabilities.double().numpy().ravel(), y.ravel()), abs=1e-5
        )


def test_a_video_without_classes_does_not_lower_precision():
    probabilities = torch.tensor([[0.9], [0.6], [0.2]])
    targets = torch.tensor([[False], [True], [False]])
    assert measure_multi_label(probabilities, targets).mean_average_precision == 1
    strict = measure_multi_label(probabilities, targets, unlabelled_last=False)
    assert strict.mean_average_precision == pytest.approx(0.5)


def test_average_precision_without_any_class_is_not_a_number():
    measures = measure_multi_label(torch.rand(3, 2), torch.zeros(3, 2, dtype=torch.bool))
    assert np.isnan(measures.mean_average_precision)
    assert measures.per_class == (None, None)


def test_the_calibration_error_is_the_weighted_gap_of_the_bins():
    logits, labels = draw(3, 400, 6)
    confidences, predicted = logits.softmax(1).max(1)
    bins = gather_reliability(confidences, predicted == labels)
    assert sum(b.count for b in bins) == 400
    error = sum(b.count * abs(b.confidence - b.accuracy) for b in bins) / 400
    assert error == pytest.approx(
        measure_single_label(logits.softmax(1), labels).calibration_error, abs=1e-5
    )


def test_targets_have_a_row_per_video():
    assert as_targets([[0, 2], [], [1]], 3).int().tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
