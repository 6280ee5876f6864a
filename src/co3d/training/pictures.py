"""Pictures of a run: training curves and confusion matrix."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from co3d.files import output_file
from co3d.training.metrics_log import Row

SMOOTHING = 20  # losses averaged for a point of the smooth curve
MAX_NAMED_CLASSES = 40


def draw_curves(rows: Sequence[Row], path: Path) -> None:
    """Draw losses, validation scores in percent and learning rate over the steps of a run."""
    figure = Figure(figsize=(13, 3.8), layout="constrained")
    loss_axes, score_axes, rate_axes = figure.subplots(1, 3)
    steps, losses = _column(rows, "train_loss")
    if len(losses):
        recent = [losses[max(0, end - SMOOTHING) : end] for end in range(1, len(losses) + 1)]
        smooth = [float(np.mean(values)) for values in recent]
        loss_axes.plot(steps, losses, lw=0.6, color="grey", alpha=0.5, label="one batch")
        loss_axes.plot(steps, smooth, color="#333333", label=f"mean of {SMOOTHING}")
    names = dict.fromkeys(key for row in rows for key in row)
    for name in names:
        if name.endswith("_loss") and name != "train_loss":
            loss_axes.plot(*_column(rows, name), marker=".", label=name.removesuffix("_loss"))
        elif name.endswith(("_accuracy", "_map")):
            at, values = _column(rows, name)
            label = name.replace("_", " ").replace(" map", " mAP")
            score_axes.plot(at, 100 * values, marker=".", label=label)
    rate_axes.plot(*_column(rows, "learning_rate"), color="tab:green")
    loss_axes.set(title="loss", ylim=(0, None))
    score_axes.set(title="validation score (%)", ylim=(0, 102))
    rate_axes.set(title="learning rate", ylim=(0, None))
    for axes in (loss_axes, score_axes, rate_axes):
        axes.set_xlabel("step of the optimiser")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    with output_file(path) as temporary:
        figure.savefig(temporary, dpi=110)


def draw_confusion(confusion: np.ndarray, class_names: Sequence[str], path: Path) -> None:
    """Draw a confusion matrix (K, K) of counts, in percent of each true class."""
    classes = len(class_names)
    total = max(1, int(confusion.sum()))
    percent = 100 * confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    side = min(16.0, max(4.5, 2.8 + 0.42 * classes))
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    axes.set_title(f"{100 * np.trace(confusion) / total:.1f} % of {total} right")
    axes.set(xlabel="prediction (percent of each true class)", ylabel="truth")
    if classes <= MAX_NAMED_CLASSES:
        axes.set_xticks(range(classes), class_names, rotation=40, ha="right", parse_math=False)
        axes.set_yticks(range(classes), class_names, parse_math=False)
        for row, column in np.argwhere(percent >= 0.5):
            value = percent[row, column]
            colour = "white" if value > 50 else "black"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, size=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    with output_file(path) as temporary:
        figure.savefig(temporary, dpi=90)


def draw_rates(rates: Sequence[float], losses: Sequence[float], best: float, path: Path) -> None:
    """Draw a learning-rate range test: loss over rate, and the rate that it suggests."""
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses)
    axes.axvline(best, color="tab:red", ls="--", label=f"steepest at {best:.2g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss", title="learning-rate range test")
    axes.grid(alpha=0.3)
    axes.legend()
    with output_file(path) as temporary:
        figure.savefig(temporary, dpi=110)


def draw_search(trials: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the history of a search: the score of each trial in percent, and the best so far.

    Args:
        trials: with `state` ("complete", "pruned" or "failed") and `score` (0 to 1, or None), in
            the order in which they ended.
        path: the picture.
    """
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axes = figure.subplots()
    for state, colour in (("complete", "tab:blue"), ("pruned", "tab:grey")):
        ended = [(n, t["score"]) for n, t in enumerate(trials, 1) if t["state"] == state]
        if ended:
            numbers, scores = zip(*ended, strict=True)
            axes.scatter(numbers, 100 * np.array(scores), color=colour, label=state, s=18)
    failed = [n for n, trial in enumerate(trials, 1) if trial["state"] == "failed"]
    if failed:
        axes.scatter(failed, [0] * len(failed), color="tab:red", marker="x", label="failed")
    complete = [100 * t["score"] if t["state"] == "complete" else -np.inf for t in trials]
    best = np.maximum.accumulate(complete)
    best[~np.isfinite(best)] = np.nan
    axes.step(range(1, len(best) + 1), best, where="post", color="black", label="best so far")
    axes.set(xlabel="trial", ylabel="validation score (%)", ylim=(-2, 102), title="search")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    with output_file(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _column(rows: Sequence[Row], name: str) -> tuple[np.ndarray, np.ndarray]:
    points = [(row["step"], row[name]) for row in rows if name in row]
    steps, values = zip(*points, strict=True) if points else ((), ())
    return np.array(steps), np.array(values, dtype=float)
