"""How to feed a network of the user's own, from the command line's options."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from co3d.cli.options import CardOptions
from co3d.console import warn
from co3d.errors import OptionError
from co3d.models import ModelCard
from co3d.models.labels import read_label_file


def make_card(
    options: CardOptions,
    own: ModelCard | None,
    name: str,
    clip_shapes: Sequence[tuple[int, ...]],
) -> ModelCard | None:
    """The network's card with the options applied; None if neither card nor options exist.

    A new card without --mean and --std leaves pixels in 0 to 1 as they are, and prints a note.

    Args:
        options: of the command line. own: the network's card, if it has one.
        name: of the network.
        clip_shapes: (C, T, H, W) of its training clips, one per input.

    Raises:
        OptionError: options are missing, out of range, or not for such a network.
    """
    if options == CardOptions():
        return own
    values = {
        "rate_hz": options.rate_hz,
        "mean": _read_triple("--mean", options.mean),
        "std": _read_triple("--std", options.std),
        "short_side_px": options.short_side_px,
        "labels": None if options.labels is None else read_label_file(options.labels),
    }
    given = {key: value for key, value in values.items() if value is not None}
    if own is None:
        own = _describe(name, clip_shapes, given)
    _check(options, name, {"short_side_px": own.short_side_px, **given}, own.crop_px)
    return dataclasses.replace(own, **given)


def check_labels(card: ModelCard | None, output_shapes: Sequence[tuple[int, ...]]) -> None:
    """Refuse a card whose number of labels differs from the network's single output row.

    Raises:
        OptionError: the numbers differ.
    """
    if card is not None and card.labels and list(output_shapes) != [(len(card.labels),)]:
        raise OptionError(
            f"cannot use the labels of {card.name}: got {len(card.labels)} names, expected one for "
            f"each output of the network, {' and '.join(map(str, output_shapes))}; give a name a "
            "line"
        )


def _describe(
    name: str, clip_shapes: Sequence[tuple[int, ...]], given: dict[str, object]
) -> ModelCard:
    """A new card for a network that has none."""
    if "rate_hz" not in given:
        raise OptionError(
            f"cannot describe {name}: its frame rate is not known; "
            "give --rate-hz, the rate of its training clips, and --mean and --std"
        )
    channels, clip_frames, height, width = clip_shapes[0]
    if len(clip_shapes) != 1 or channels != 3 or height != width:
        raise OptionError(
            f"cannot describe {name}: got clips of {' and '.join(map(str, clip_shapes))}, expected "
            "one input (3, T, S, S) of square RGB pictures; leave these options out"
        )
    if not {"mean", "std"} & set(given):
        warn(
            f"{name} is shown pixels from 0 to 1: --mean and --std were not given; give those that "
            "it was trained with"
        )
    return ModelCard(name, clip_frames, 1.0, width, width, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def _check(options: CardOptions, name: str, values: dict[str, Any], crop_px: int) -> None:
    """Refuse invalid values before the card does, naming the command line's options."""
    what = f"cannot describe {name}: got"
    if not 0 < values.get("rate_hz", 1.0) < float("inf"):
        raise OptionError(f"{what} --rate-hz {options.rate_hz}, expected above 0")
    if min(values.get("std", (1.0,))) <= 0:
        raise OptionError(f"{what} --std {options.std}, expected above 0")
    if values["short_side_px"] < crop_px:
        raise OptionError(
            f"{what} --short-side {options.short_side_px}, expected at least {crop_px}, the side "
            "of its input"
        )


def _read_triple(option: str, text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        red, green, blue = map(float, text.split(","))
    except ValueError:
        red = green = blue = float("nan")
    if not all(abs(value) < 1e6 for value in (red, green, blue)):
        raise OptionError(f"cannot read {option} {text!r}: expected R,G,B, e.g. 0.45,0.45,0.45")
    return red, green, blue
