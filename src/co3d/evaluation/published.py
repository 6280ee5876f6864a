"""Published figures of a run's weights, and how the protocols behind them differ from the run."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from co3d.datasets.manifest import Manifest
from co3d.evaluation.paper_protocol import PAPER, PAPER_WINDOW, count_init_frames
from co3d.models import ModelCard, get_card
from co3d.models.labels import read_labels
from co3d.weights import Figure, PublishedWeights

PAPER_TAG = "kinetics400"
PAPER_CLIP = {"x3d_l": 69.29, "x3d_m": 67.24, "x3d_s": 64.71, "x3d_xs": 59.37}
"""Top-1 on Kinetics-400 of one clip a video."""

PAPER_STREAM = {"x3d_l": 71.61, "x3d_m": 71.03, "x3d_s": 67.33, "slow_r50": 73.1}
"""Top-1 on Kinetics-400 of one prediction a video, averaged over 64 feature frames."""

PAPER_SIDES_PX = {"slow_r50": 256}
"""Side of the pictures in the stream measurements; clips use the network's own crop."""

UNSTATED = "none that its authors state"
ENOUGH = 0.95
"""A copy of a data set must have this share of the listed videos: some are gone for everybody."""


@dataclass(frozen=True)
class DataSet:
    """The data of a published measurement.

    Attributes:
        title: its name. splits: names of the split that was used.
        labels: set of class names. videos: number in that split, as published.
        video_id: pattern of its videos' ids.
    """

    title: str
    splits: tuple[str, ...]
    labels: str
    videos: int
    video_id: "re.Pattern[str]"


DATA_SETS = {
    # 50 videos a class (arXiv:1705.06950).
    "kinetics400": DataSet(
        "Kinetics-400", ("val",), "kinetics400", 20_000, re.compile(r"[\w-]{11}_\d{6}_\d{6}(#\d+)?")
    ),
    # 50 videos a class (arXiv:1808.01340).
    "kinetics600": DataSet(
        "Kinetics-600", ("val",), "kinetics600", 30_000, re.compile(r"[\w-]{11}_\d{6}_\d{6}(#\d+)?")
    ),
    # The validation part (https://developer.qualcomm.com/software/ai-datasets/jester).
    "jester27": DataSet("Jester", ("val",), "jester27", 14_787, re.compile(r"\d+(#\d+)?")),
    # The authors of Charades call this split test, PySlowFast calls it val (arXiv:1604.01753).
    "charades157": DataSet(
        "Charades", ("test", "val"), "charades157", 1863, re.compile(r"[A-Z0-9]{5}(#\d+)?")
    ),
}


@dataclass(frozen=True)
class PublishedFigure:
    """What others measured with the same weights.

    Attributes:
        measure: with its protocol. percent: its value.
        differences: of this run from that measurement, in words; empty if the run repeats it.
    """

    measure: str
    percent: float
    differences: tuple[str, ...]


def list_published(
    weights: PublishedWeights | None,
    card: ModelCard,
    settings: Mapping[str, Any],
    manifest: Manifest,
    *,
    evaluated: int,
) -> list[PublishedFigure]:
    """Published figures of a run's weights, each with the differences of its measurement.

    Args:
        weights: of the run; None if they are not known to be published.
        card: how the network was fed.
        settings: of the run, as its report lists them.
        manifest: the listed videos. evaluated: how many of them count.
    """
    if weights is None:
        return []
    own = get_card(weights.model)
    found = tuple(_compare_data(DATA_SETS[weights.labels], settings, manifest, evaluated))

    def compare(
        measure: str, percent: float, *, short_side_px: int, crop_px: int, **expected: Any
    ) -> PublishedFigure:
        pairs = {name: (settings[name], value) for name, value in expected.items()} | {
            "rate": (settings["rate_hz"], own.rate_hz),
            "short side": (card.short_side_px, short_side_px),
            "crop": (card.crop_px, crop_px),
            "precision": (settings["precision"], "float32"),
        }
        named = [_name(key, *pair) for key, pair in pairs.items() if pair[0] != pair[1]]
        return PublishedFigure(measure, percent, (*found, *named))

    def compare_clips(measure: str, figure: Figure) -> PublishedFigure:
        return compare(
            measure,
            figure.percent,
            mode="clip",
            views=figure.views,
            rule=figure.rule or UNSTATED,
            short_side_px=own.short_side_px,
            crop_px=own.crop_px,
        )

    figures = [compare_clips(figure.name, figure) for figure in weights.figures]
    if weights.tag == PAPER_TAG and card.name in PAPER_CLIP:
        name = f"Kinetics-400 top-1, one clip ({PAPER})"
        figures.append(compare_clips(name, Figure(name, PAPER_CLIP[card.name], "1x1", None)))
    if weights.tag == PAPER_TAG and card.name in PAPER_STREAM:
        full_frames = settings["full_frames"]
        side_px = PAPER_SIDES_PX.get(card.name, own.crop_px)
        figures.append(
            compare(
                f"Kinetics-400 top-1, stream, window {PAPER_WINDOW} ({PAPER})",
                PAPER_STREAM[card.name],
                mode="stream",
                protocol="paper",
                window=PAPER_WINDOW,
                fill="replicate",
                init=full_frames and count_init_frames(card.name, settings["window"], full_frames),
                short_side_px=side_px,
                crop_px=side_px,
            )
        )
    return sorted(figures, key=lambda figure: len(figure.differences))


def _compare_data(
    data: DataSet, settings: Mapping[str, Any], manifest: Manifest, evaluated: int
) -> Iterator[str]:
    """Yield how the run's videos differ from those of a published measurement."""
    listed = len(manifest.entries)
    classes = len(manifest.count_labels())
    expected = len(read_labels(data.labels))
    named = sum(data.video_id.fullmatch(entry.video_id) is not None for entry in manifest.entries)
    is_whole = listed >= ENOUGH * data.videos and classes == expected
    if not is_whole or named < ENOUGH * listed:
        yield _name(
            "data",
            f"{listed} videos of {classes} classes"
            + ("" if named == listed else " by other names"),
            f"the {data.videos} of {expected} of {data.title}",
        )
    if settings["split"] not in data.splits:
        yield _name("split", settings["split"], " or ".join(data.splits))
    if evaluated < ENOUGH * listed:
        yield f"{evaluated} of {listed} videos evaluated"


def _name(setting: str, got: Any, expected: Any) -> str:
    return f"{setting} {'none' if got is None else got} instead of {expected}"
