"""Draw features as points in a plane, coloured by class."""

from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from co3d.evaluation.features import VideoFeatures
from co3d.evaluation.projection import Projection, project
from co3d.files import output_file
from co3d.report import label_colours

LARGEST_SAMPLE = 5000
SAMPLE_SEED = 0
NAMED_CLASSES = 12


class FeatureSample:
    """Keeps a uniform random sample of the rows added to it."""

    def __init__(self, size: int = LARGEST_SAMPLE) -> None:
        self._size = size
        self._generator = torch.Generator().manual_seed(SAMPLE_SEED)
        self._seen = 0
        self.rows: list[Tensor] = []
        self.labels: list[int | None] = []

    def add(self, features: VideoFeatures) -> None:
        """Add the rows of one video."""
        label = features.job.entry.labels[0] if features.job.entry.labels else None
        for row in features.features:
            self._seen += 1
            if len(self.rows) < self._size:
                self.rows.append(row)
                self.labels.append(label)
                continue
            place = int(torch.randint(self._seen, (), generator=self._generator))
            if place < self._size:
                self.rows[place], self.labels[place] = row, label


def draw_features(
    sample: FeatureSample,
    class_names: Sequence[str],
    path: Path,
    *,
    title: str,
    projection: Projection = "pca",
) -> None:
    """Draw the sample, a colour per class; of many classes the most frequent ones are named.

    Args:
        sample: at least one row.

    Raises:
        OutputError: the file cannot be written. MissingPackageError, OptionError: see `project`.
    """
    plane = project(torch.stack(sample.rows), projection)
    labels = sample.labels
    present = sorted({label for label in labels if label is not None}, key=labels.count)[::-1]
    named = sorted(present[:NAMED_CLASSES])
    colours = label_colours(tuple(class_names[label] for label in named))
    figure = Figure((8.4, 6), dpi=110, layout="constrained")
    axis = figure.subplots()
    for label in (None, *named):
        rows = [i for i, own in enumerate(labels) if (own if own in named else None) == label]
        if rows:
            name = "others" if label is None else class_names[label]
            colour = "#d5dae0" if label is None else colours[name]
            x, y = plane.coordinates[rows].unbind(1)
            axis.scatter(x, y, s=12, color=colour, alpha=0.8, linewidths=0, label=name)
    axis.set_title(title, loc="left", weight="bold", parse_math=False)
    axis.set_xlabel(plane.axes[0])
    axis.set_ylabel(plane.axes[1])
    axis.spines[["top", "right"]].set_visible(False)
    legend = figure.legend(loc="outside right upper", frameon=False, markerscale=2)
    for text in legend.get_texts():
        text.set_parse_math(False)
    with output_file(path) as temporary:
        figure.savefig(temporary, format="png", facecolor="white")
