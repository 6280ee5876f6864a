"""The pictures of a report: confusion, classes, reliability, transient response."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from co3d.evaluation.metrics import (
    SingleLabelMeasures,
    as_targets,
    gather_reliability,
)
from co3d.evaluation.summary import Summary
from co3d.evaluation.transient import TransientResponse
from co3d.files import output_file
from co3d.picture_style import BLUE, FAINT, INK, MUTED, ORANGE

NAMED_CLASSES = 40
"""With more classes than this, a picture cannot name them all."""


def draw_pictures(summary: Summary, folder: Path) -> dict[str, Path]:
    """Draw the pictures that the run has data for; returns title -> file.

    Raises:
        OutputError: a file cannot be written.
    """
    if not summary.evaluated:
        return {}
    drawn: dict[str, Path] = {}

    def draw(
        title: str, name: str, size: tuple[float, float], paint: Callable[[Axes], None]
    ) -> None:
        figure = Figure(size, dpi=110, layout="constrained")
        axis = figure.subplots()
        paint(axis)
        axis.set_title(title, loc="left", color=INK, weight="bold", parse_math=False)
        axis.tick_params(colors=MUTED)
        for text in (axis.xaxis.label, axis.yaxis.label):
            text.set_color(MUTED)
        drawn[title] = folder / f"{name}.png"
        with output_file(drawn[title]) as temporary:
            figure.savefig(temporary, format="png", facecolor="white")

    measures = summary.measures[summary.main_prediction]
    classes = len(summary.class_names)
    if isinstance(measures, SingleLabelMeasures):
        side = min(11.0, 3.6 + 0.3 * min(classes, NAMED_CLASSES))
        draw(
            "Confusion", "confusion", (side + 1, side), lambda axis: _draw_confusion(axis, summary)
        )
    height = 1.6 + 0.24 * min(NAMED_CLASSES, sum(v is not None for v in measures.per_class))
    draw("Classes", "classes", (7.5, height), lambda axis: _draw_classes(axis, summary))
    draw("Reliability", "reliability", (5.6, 5.2), lambda axis: _draw_reliability(axis, summary))
    transient = summary.transient
    if transient is not None and transient.frames:
        draw(
            "Transient response",
            "transient",
            (7.5, 4.4),
            lambda axis: _draw_transient(axis, transient),
        )
    return drawn


def _draw_confusion(axis: Axes, summary: Summary) -> None:
    measures = summary.measures[summary.main_prediction]
    assert isinstance(measures, SingleLabelMeasures)
    counts = measures.confusion.numpy()
    percent = 100 * counts / np.maximum(1, counts.sum(1, keepdims=True))
    axis.imshow(percent, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    axis.set(xlabel="prediction", ylabel="truth")
    names = summary.class_names
    if len(names) > NAMED_CLASSES:
        return
    axis.set_xticks(range(len(names)), names, rotation=45, ha="right", parse_math=False)
    axis.set_yticks(range(len(names)), names, parse_math=False)
    axis.tick_params(length=0)
    if len(names) <= NAMED_CLASSES // 2:
        for row, column in zip(*np.nonzero(percent >= 0.5), strict=True):
            value = percent[row, column]
            colour = "white" if value > 50 else INK
            axis.text(
                column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=9
            )


def _draw_classes(axis: Axes, summary: Summary) -> None:
    measures = summary.measures[summary.main_prediction]
    known = [
        (value, name)
        for value, name in zip(measures.per_class, summary.class_names, strict=True)
        if value is not None
    ]
    known.sort()
    if len(known) > NAMED_CLASSES:
        half = NAMED_CLASSES // 2
        known = known[:half] + known[-half:]
        axis.axhline(half - 0.5, color=MUTED, linewidth=0.8, linestyle=":")
    axis.barh(range(len(known)), [100 * value for value, _ in known], color=BLUE, height=0.72)
    axis.set_yticks(range(len(known)), [name for _, name in known], parse_math=False)
    axis.set_ylim(-0.7, len(known) - 0.3)
    axis.set_xlim(0, 100)
    is_single = isinstance(measures, SingleLabelMeasures)
    axis.set_xlabel("recognised, %" if is_single else "average precision, %")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="x", color=FAINT)
    axis.set_axisbelow(True)


def _draw_reliability(axis: Axes, summary: Summary) -> None:
    scores = summary.scores(summary.main_prediction)
    labels = [record.labels for record in summary.evaluated]
    if summary.multi_label:
        confidences = scores.flatten()
        is_right = as_targets(labels, scores.shape[1]).flatten()
    else:
        confidences, predicted = scores.max(1)
        is_right = predicted == torch.tensor(labels).flatten()
    bins = gather_reliability(confidences, is_right)
    total = sum(b.count for b in bins)
    axis.plot([0, 100], [0, 100], color=MUTED, linewidth=1, linestyle=":")
    axis.plot(
        [100 * b.confidence for b in bins], [100 * b.accuracy for b in bins], color=BLUE, alpha=0.4
    )
    axis.scatter(
        [100 * b.confidence for b in bins],
        [100 * b.accuracy for b in bins],
        s=[20 + 600 * b.count / total for b in bins],
        color=BLUE,
        alpha=0.75,
        clip_on=False,
        zorder=3,
    )
    error = summary.measures[summary.main_prediction].calibration_error
    axis.text(
        3,
        96,
        f"calibration error {100 * error:.1f} %\narea: share of the predictions",
        va="top",
        color=MUTED,
        fontsize=9,
    )
    axis.set(xlim=(0, 100), ylim=(0, 100), xlabel="confidence, %", ylabel="right, %")
    axis.spines[["top", "right"]].set_visible(False)


def _draw_transient(axis: Axes, transient: TransientResponse) -> None:
    percent = [100 * share for share in transient.values]
    marker = "o" if transient.measure == "mAP" else None  # only known at milestones
    axis.plot(transient.frames, percent, color=BLUE, linewidth=1.8, marker=marker, markersize=4)
    if transient.first_valid is not None:
        axis.axvline(transient.first_valid, color=ORANGE, linewidth=1, linestyle="--")
        axis.annotate(
            "network full",
            (transient.first_valid, 2),
            xytext=(4, 0),
            textcoords="offset points",
            color=ORANGE,
            fontsize=9,
        )
    axis.set(ylim=(0, 100), xlabel="frames seen", ylabel=f"{transient.measure}, %")
    axis.margins(x=0.01)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color=FAINT)
    axis.set_axisbelow(True)
