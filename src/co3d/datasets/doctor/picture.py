"""Rates, lengths and sizes of a data set's videos, and what is wrong with them, as a picture."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from co3d.datasets.doctor.diagnosis import KINDS, Diagnosis
from co3d.datasets.examination import Examination
from co3d.files import output_file
from co3d.printable import make_printable

SIZES_SHOWN = 8
BINS = 30
GOOD, BAD, DOUBTFUL = "#4477aa", "#cc3311", "#ddaa33"


def draw_statistics(
    path: Path, title: str, listed: int, found: Mapping[str, Examination], diagnosis: Diagnosis
) -> None:
    """Write a picture (.png, .svg or .pdf).

    Raises:
        OutputError: it cannot be written.
    """
    decoded = [seen for seen in found.values() if seen.frames]
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    figure.suptitle(make_printable(title))
    axes = figure.subplots(2, 2)
    _draw_histogram(
        axes[0, 0], [seen.rate_hz for seen in decoded if seen.rate_hz], "frames per second"
    )
    _draw_histogram(
        axes[0, 1], [seen.seconds for seen in decoded if seen.seconds], "seconds for which it lasts"
    )
    _draw_sizes(axes[1, 0], decoded)
    _draw_problems(axes[1, 1], listed, diagnosis)
    with output_file(path) as temporary, warnings.catch_warnings():
        # The title is a folder's name, in any script; the font has a box for what it lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(temporary, dpi=130)


def _draw_histogram(axes: Axes, values: Sequence[float], label: str) -> None:
    if values:
        low, high = min(values), max(values)
        margin = max(0.05 * (high - low), 0.5)
        axes.hist(values, bins=np.linspace(low - margin, high + margin, BINS).tolist(), color=GOOD)
        median = float(np.median(values))
        axes.axvline(median, color="black", linewidth=1, linestyle=":")
        axes.set_title(f"median {median:.4g}, from {low:.4g} to {high:.4g}", fontsize="medium")
    _label(axes, label)


def _draw_sizes(axes: Axes, decoded: Sequence[Examination]) -> None:
    counts = Counter(f"{seen.width}x{seen.height}" for seen in decoded)
    shown = counts.most_common(SIZES_SHOWN)
    if rest := sum(counts.values()) - sum(count for _, count in shown):
        shown.append((f"{len(counts) - SIZES_SHOWN} others", rest))
    axes.barh([name for name, _ in shown], [count for _, count in shown], color=GOOD)
    axes.set_ylim(max(len(shown), 4) - 0.5, -0.5)  # downwards, with room for four bars
    axes.set_title("width x height in pixels", fontsize="medium")
    axes.set_xlabel("videos")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_problems(axes: Axes, listed: int, diagnosis: Diagnosis) -> None:
    counts = Counter(kind for _, kind in {(p.video_id, p.kind) for p in diagnosis.problems})
    names = ["in the clean manifest", *KINDS]
    values = [len(diagnosis.clean.entries), *(counts[kind] for kind in KINDS)]
    colours = [GOOD, *(DOUBTFUL if kind == "wrong-duration" else BAD for kind in KINDS)]
    bars = axes.barh(names, values, color=colours)
    axes.bar_label(bars, labels=[f" {value}" for value in values])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_title(f"of {listed} listed", fontsize="medium")
    axes.set_xlabel("videos")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _label(axes: Axes, label: str) -> None:
    axes.set_xlabel(label)
    axes.set_ylabel("videos")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
