"""Measures of predictions: accuracy, average precision, confusion, calibration.

The metrics are torchmetrics'; this file chooses them, and what a class without examples counts as.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from co3d.packages import require_package

TOP_KS = (1, 3, 5)
CALIBRATION_BINS = 15


@dataclass(frozen=True)
class SingleLabelMeasures:
    """Measures of N videos that each show one of K classes; shares, not percent.

    Attributes:
        per_class: share of each class's videos that were classified correctly; None for absent
            classes.
        per_class: share of each class's videos that were recognised; None for absent classes.
        confusion: (K, K) int64 counts; row is the truth.
        calibration_error: expected calibration error, l1, 15 bins (Guo et al., 2017).
    """

    top: dict[int, float]
    per_class: tuple[float | None, ...]
    confusion: Tensor
    calibration_error: float

    @property
    def mean_class_accuracy(self) -> float:
        """Mean of `per_class` over the classes that occur, which all count equally."""
        return mean_of_known(self.per_class)


@dataclass(frozen=True)
class MultiLabelMeasures:
    """Measures of N videos that each show any of K classes; shares, not percent.

    Attributes:
        mean_average_precision: over the classes that some video shows.
        per_class: average precision; None for classes that no video shows.
        calibration_error: expected calibration error over all N · K yes-or-no answers.
    """

    mean_average_precision: float
    per_class: tuple[float | None, ...]
    calibration_error: float


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions of about the same confidence.

    Attributes:
        confidence: their mean confidence. accuracy: share that is right. count: how many.
    """

    confidence: float
    accuracy: float
    count: int


def measure_single_label(probabilities: Tensor, labels: Tensor) -> SingleLabelMeasures:
    """Measure probabilities (N, K) against labels (N,) int64, N >= 1."""
    metrics = require_metrics()
    classes = probabilities.shape[1]
    confusion = metrics.multiclass_confusion_matrix(probabilities, labels, num_classes=classes)
    right = metrics.multiclass_accuracy(
        probabilities, labels, num_classes=classes, average="none"
    ).tolist()
    present = confusion.sum(1) > 0
    return SingleLabelMeasures(
        top={
            k: float(
                metrics.multiclass_accuracy(
                    probabilities, labels, num_classes=classes, average="micro", top_k=k
                )
            )
            for k in TOP_KS
            if k <= classes
        },
        per_class=tuple(
            value if seen else None for value, seen in zip(right, present.tolist(), strict=True)
        ),
        confusion=confusion,
        calibration_error=float(
            metrics.multiclass_calibration_error(
                probabilities, labels, num_classes=classes, n_bins=CALIBRATION_BINS, norm="l1"
            )
        ),
    )


def measure_multi_label(
    probabilities: Tensor, targets: Tensor, *, unlabelled_last: bool = True
) -> MultiLabelMeasures:
    """Measure probabilities (N, K) against targets (N, K) bool, N >= 1.

    Args:
        unlabelled_last: rank videos without any class behind all others, as Charades' official
            script for classification does (`Charades_v1_classify.m`); the one for localisation
            does not.
    """
    metrics = require_metrics()
    classes = probabilities.shape[1]
    answers = targets.int()
    scores = probabilities
    if unlabelled_last:
        # Below every probability that an activation gives, but not below 0: torchmetrics takes
        # numbers outside [0, 1] for logits.
        scores = torch.where(targets.any(1, keepdim=True), probabilities, 0.0)
    shown = targets.any(0)
    per_class: list[float | None] = [None] * classes
    for index in shown.nonzero().flatten().tolist():
        precision = metrics.binary_average_precision(scores[:, index], answers[:, index])
        per_class[index] = float(precision)
    return MultiLabelMeasures(
        mean_average_precision=mean_of_known(per_class),
        per_class=tuple(per_class),
        calibration_error=float(
            metrics.binary_calibration_error(
                probabilities.flatten(), answers.flatten(), n_bins=CALIBRATION_BINS, norm="l1"
            )
        ),
    )


def mean_of_known(per_class: Sequence[float | None]) -> float:
    """The mean over the classes that have a value; NaN if none has."""
    known = [value for value in per_class if value is not None]
    return sum(known) / len(known) if known else float("nan")


def gather_reliability(confidences: Tensor, is_right: Tensor) -> list[ReliabilityBin]:
    """Sort predictions into bins of equal width by confidence; empty bins are left out.

    Args:
        confidences: (N,) in [0, 1]: probability of the predicted class.
        is_right: (N,) bool.
    """
    bins = (confidences * CALIBRATION_BINS).long().clamp(max=CALIBRATION_BINS - 1)
    return [
        ReliabilityBin(
            confidence=float(confidences[rows].double().mean()),
            accuracy=float(is_right[rows].double().mean()),
            count=int(rows.sum()),
        )
        for rows in (bins == index for index in range(CALIBRATION_BINS))
        if rows.any()
    ]


def as_targets(labels: Sequence[Sequence[int]], classes: int) -> Tensor:
    """Class indices per video -> (N, K) bool."""
    targets = torch.zeros(len(labels), classes, dtype=torch.bool)
    for row, indices in enumerate(labels):
        targets[row, list(indices)] = True
    return targets


def require_metrics() -> Any:
    """Import torchmetrics' functions; called before a run begins.

    Raises:
        MissingPackageError: torchmetrics is not installed.
    """
    require_package("torchmetrics", extra="evaluation")
    return importlib.import_module("torchmetrics.functional.classification")
