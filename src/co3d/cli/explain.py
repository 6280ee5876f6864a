"""`co3d explain`: what a network becomes as a step program."""

import dataclasses
import json

from co3d.models import create_model
from co3d.stream import convert


def print_explanation(
    model_name: str, *, window: int | None, size_px: int | None, as_json: bool
) -> None:
    """Print the table of temporal types and the figures of a step program.

    Args:
        model_name: a registered network.
        window: feature frames that the last pooling averages; None takes the clip's own number.
        size_px: side of the square input; None takes the model's own.
        as_json: print one JSON object instead.

    Raises:
        UnknownModelError: no such model.
        InputShapeError: the input is smaller than the network can take.
        OptionError: `window` or `size_px` is out of range.
    """
    model = create_model(model_name, weights="random")  # the weights change nothing here
    channels, frames, side_px, _ = model.card.clip_shape
    side_px = side_px if size_px is None else size_px
    program = convert(model, (channels, frames, side_px, side_px), window=window)
    if not as_json:
        print(program.explain())
        return
    figures = {
        "model": model_name,
        "clip_shape": [channels, frames, side_px, side_px],
        "receptive_field": program.receptive_field,
        "delay": program.delay,
        "temporal_stride": program.temporal_stride,
        "first_valid_step": program.first_valid_step,
        "window": program.window,
        "state_bytes": program.state_bytes,
        "macs_per_frame": program.macs_per_frame,
        "clip_macs": program.clip_macs,
        "approximations": list(program.approximations),
        "values": [dataclasses.asdict(row) for row in program.rows],
    }
    print(json.dumps(figures, indent=2))
