"""`co3d check --backend`: how backends and precisions differ on real streams."""

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from torch import nn

from co3d.cli.exit_codes import STOPPED, SUCCESS
from co3d.cli.interrupts import interrupt_on_signals
from co3d.cli.networks import open_network
from co3d.cli.options import CheckOptions, ConversionOptions
from co3d.cli.steps import show_steps
from co3d.compiler import StepProgram
from co3d.console import Console
from co3d.errors import OptionError, SourceNotFoundError
from co3d.models import ClipModel
from co3d.models.file_networks import redirect_prints
from co3d.parity.features import convert_with_features
from co3d.parity.precision import PrecisionComparison
from co3d.parity.precision_report import MOST_CHANGED_LABELS, PrecisionReport, PrecisionRow
from co3d.parity.streams import (
    USUAL_CARD,
    FrameStream,
    film_journeys,
    stream_sample,
    stream_video_file,
)
from co3d.runtime.choice import PLAIN_PRECISIONS, find_device, list_quick_backends, select_engines

FRAMES = 300
_NAMED = 4
_JOURNEY_FRAMES = 200  # valid results per synthetic camera path, or a few more


def check_precisions(options: ConversionOptions, chosen: CheckOptions) -> int:
    """Compare backends and precisions on real streams and print a row for each.

    Returns:
        The exit code: 130 when a signal stopped it; the rows then cover the frames until there.

    Raises:
        ParityError: a backend in float32 differs from float64 by more than rounding; raised after
            the result is printed.
        OptionError: an option out of range. MissingPackageError: a backend is not installed.
        ConversionError: the network cannot be converted.
        EmptyVideoError, InputShapeError: the videos are too short, or the network takes no video.
    """
    count = FRAMES if chosen.frames is None else chosen.frames
    if count < 1:
        raise OptionError(f"cannot compare {count} frames: give --frames 1 or more")
    device = find_device(chosen.device)
    everything = "all" in chosen.backends
    backends = list_quick_backends(device.type) if everything else chosen.backends
    engines = select_engines(backends, chosen.precisions or PLAIN_PRECISIONS, device.type)
    model, shapes = open_network(options)
    streams, notes = _find_streams(model, shapes, chosen.videos, count)
    comparison, is_complete = None, False
    try:
        with interrupt_on_signals(), show_steps() as report:
            program, has_features = _convert(options, model, shapes)
            comparison = PrecisionComparison(
                program,
                has_features=has_features,
                engines=engines,
                random_weights=_has_random_weights(model, options.weights),
                device=str(device),
            )
            if not has_features:
                notes.append("no features: no linear layer or convolution leads to the outputs")
            comparison.run(streams, count, report)
        is_complete = True
    except KeyboardInterrupt:
        notes.append("stopped before all frames were compared")
    if comparison is None or not comparison.compared_frames:
        return STOPPED
    found = comparison.report(notes)
    if chosen.as_json:
        print(json.dumps(_describe(found, options.network), indent=2))
    else:
        _print(Console(), found)
    found.require()
    return SUCCESS if is_complete else STOPPED


def _convert(
    options: ConversionOptions, model: nn.Module, shapes: Sequence[tuple[int, ...]]
) -> tuple[StepProgram, bool]:
    with redirect_prints():
        return convert_with_features(
            model,
            shapes,
            **options.keywords,
        )


def _find_streams(
    model: nn.Module, shapes: Sequence[tuple[int, ...]], videos: Sequence[str], count: int
) -> tuple[list[FrameStream], list[str]]:
    """The streams to compare on, and notes to print about them."""
    notes = []
    card = model.card if isinstance(model, ClipModel) else USUAL_CARD
    if card is USUAL_CARD:
        notes.append(
            "the network does not describe its input: assumed "
            f"{card.rate_hz:g} frames/s, mean {card.mean[0]} and std {card.std[0]}"
        )
    frame_shapes = [(shape[0], *shape[2:]) for shape in shapes]
    if videos:
        return [stream_video_file(path, card, frame_shapes) for path in videos], notes
    streams = [stream_sample(card, frame_shapes)]
    if card.name == "camera_motion" and frame_shapes == [(3, card.crop_px, card.crop_px)]:
        try:
            streams += film_journeys(-(-count // _JOURNEY_FRAMES))
        except SourceNotFoundError as error:
            notes.append(f"the virtual camera has nothing to film: {error}")
    return streams, notes


def _has_random_weights(model: nn.Module, weights: str | None) -> bool:
    """Whether a registered network has random weights; for a user's own network this is unknown."""
    if weights is not None or not isinstance(model, ClipModel):
        return weights == "random"
    return not model.card.bundled_weights


def _describe(found: PrecisionReport, network: str) -> dict[str, object]:
    backend, reason = found.default
    return {
        "network": network,
        "random_weights": found.random_weights,
        "device": found.device,
        "streams": list(found.streams),
        "most_changed_labels": MOST_CHANGED_LABELS,
        "default": {"backend": backend, "precision": "float32", "reason": reason},
        "rows": [_describe_row(row) for row in found.rows],
        "notes": list(found.notes),
    }


def _describe_row(row: PrecisionRow) -> dict[str, object]:
    return {
        **_finite(dataclasses.asdict(row)),
        "agreement": row.agreement,
        "keeps_labels": row.keeps_labels,
        "tolerance": row.tolerance,
        "within_tolerance": row.within_tolerance,
    }


def _finite(value: Any) -> Any:
    """Replace numbers that are not finite by null, since JSON has none."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print(console: Console, found: PrecisionReport) -> None:
    title = "relative errors (L2 per frame) from float64; labels against float32"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    for heading in ("backend", "precision"):
        table.add_column(heading, no_wrap=True)
    for heading in ("logits\nworst", "\nmedian", "features\nworst", "\nmedian"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("frames", "same\nlabel", "rule"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in found.rows:
        spreads = [row.logits, row.features]
        errors = [
            "-" if spread is None else f"{value:.1e}"
            for spread in spreads
            for value in ((spread.worst, spread.median) if spread else (0, 0))
        ]
        agreement = f"{100 * row.agreement:.2f} %"
        rule = "kept" if row.keeps_labels else "broken"
        style = "bold red" if not row.within_tolerance else "" if row.keeps_labels else "yellow"
        cells = (row.backend, row.precision, *errors, str(row.frames), agreement, rule)
        table.add_row(*cells, style=style)
    console.print(table)
    lines = [
        f"rule: the likeliest label may differ from float32's on {MOST_CHANGED_LABELS:.1%} of the "
        "frames at most",
        f"device: {found.device}",
        f"default: {found.default[0]} in float32 ({found.default[1]})",
        f"streams: {_name_some(found.streams)}",
    ]
    if found.random_weights:
        lines.append(
            "the weights are random: labels mean nothing, near ties are frequent, and norms that "
            "start at zero switch off whole branches; give --weights for meaningful figures"
        )
    lines += [f"note: {note}" for note in found.notes]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _name_some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
