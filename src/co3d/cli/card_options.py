"""How a network of the user's own is to be fed, as the command line says it."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from co3d.cli.options import CardOptions
from co3d.errors import OptionError
from co3d.models import ModelCard

NEEDED = "--rate-hz, --mean and --std"


def make_card(
    options: CardOptions,
    own: ModelCard | None,
    name: str,
    frame_shapes: Sequence[tuple[int, ...]],
    output_shapes: Sequence[tuple[int, ...]],
    clip_frames: int,
) -> ModelCard | None:
    """The network's card with what the options say; None where nobody describes the network.

    Args:
        options: of the command line. own: the network's card, if it has one.
        name: of the network.
        frame_shapes, output_shapes: of one frame and one result.
        clip_frames: of its training clips.

    Raises:
        OptionError: the options are too few, out of range, or not for such a network.
    """
    if options == CardOptions():
        return own
    mean, std = _read_triple("--mean", options.mean), _read_triple("--std", options.std)
    values = {
        "rate_hz": options.rate_hz,
        "mean": mean,
        "std": std,
        "short_side_px": options.short_side_px,
        "labels": options.labels and _read_labels(options.labels, output_shapes),
    }
    given = {key: value for key, value in values.items() if value is not None}
    if own is None:
        (height, width) = frame_shapes[0][-2:]
        if not {"rate_hz", "mean", "std"} <= set(given):
            raise OptionError(f"cannot describe {name}: expected {NEEDED} together; give all three")
        if len(frame_shapes) != 1 or frame_shapes[0][0] != 3 or height != width:
            raise OptionError(
                f"cannot describe {name}: got frames of shape {', '.join(map(str, frame_shapes))}, "
                "expected one input of 3 channels and square pictures; leave these options out"
            )
        own = ModelCard(name, clip_frames, 1.0, width, width, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    card = dataclasses.replace(own, **given)
    if not 0 < card.rate_hz < float("inf"):
        raise OptionError(f"cannot describe {name}: got --rate-hz {card.rate_hz}, expected above 0")
    if min(card.std) <= 0:
        raise OptionError(f"cannot describe {name}: got --std {options.std}, expected above 0")
    if card.short_side_px < card.crop_px:
        raise OptionError(
            f"cannot describe {name}: got --short-side {card.short_side_px}, expected at least "
            f"{card.crop_px}, the side of the pictures that it sees"
        )
    return card


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


def _read_labels(path: Path, output_shapes: Sequence[tuple[int, ...]]) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"cannot read --labels {path}: {error}; check the path") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if len(output_shapes) != 1 or output_shapes[0] != (len(names),):
        raise OptionError(
            f"cannot use --labels {path}: got {len(names)} names, expected one for each output of "
            f"the network, {' and '.join(map(str, output_shapes))}; give a name a line"
        )
    return names
