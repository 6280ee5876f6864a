"""Published figures of the weights that a run measures, and which of them it repeats."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from co3d.models import ModelCard

PAPER = "arXiv:2106.00050"
PAPER_WINDOW = 64
PAPER_TAG = "kinetics400"
PAPER_CLIP = {"x3d_l": 69.29, "x3d_m": 67.24, "x3d_s": 64.71, "x3d_xs": 59.37}
"""Top-1 on Kinetics-400 of one clip a video."""

PAPER_STREAM = {"x3d_l": 71.61, "x3d_m": 71.03, "x3d_s": 67.33, "slow_r50": 73.1}
"""Top-1 on Kinetics-400 of one prediction a video, averaged over 64 feature frames."""


@dataclass(frozen=True)
class PublishedFigure:
    """What others measured with the same weights.

    Attributes:
        measure: with its protocol. percent: its value.
        is_repeated: whether this run's protocol is the same.
    """

    measure: str
    percent: float
    is_repeated: bool


def list_published(card: ModelCard, settings: Mapping[str, Any]) -> list[PublishedFigure]:
    """Published figures of a run's weights: those of its mode first, where the paper has one.

    Args:
        settings: of the run, as its report lists them.
    """
    is_clip = settings["mode"] == "clip"
    views = _count_views(settings["views"])
    figures = [
        PublishedFigure(name, percent, is_clip and f", {views} views" in name)
        for name, percent in card.published_accuracy.items()
    ]
    values = PAPER_CLIP if is_clip else PAPER_STREAM
    if settings["weights"] != PAPER_TAG or card.name not in values:
        return figures
    protocol = "one clip" if is_clip else f"stream, window {PAPER_WINDOW}, warm"
    same = views == 1 if is_clip else settings["window"] == PAPER_WINDOW
    same = same and settings["rate_hz"] == card.rate_hz
    name = f"Kinetics-400 top-1, {protocol} ({PAPER})"
    return [PublishedFigure(name, values[card.name], same), *figures]


def _count_views(views: str | None) -> int | None:
    if views is None:
        return None
    temporal, spatial = map(int, views.split("x"))
    return temporal * spatial
