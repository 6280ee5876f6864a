"""`co3d explain`: show the step program that a network is converted to."""

import dataclasses
import json
from pathlib import Path

from co3d.cli.networks import convert_network
from co3d.cli.options import ConversionOptions
from co3d.compiler.explain import find_delay_sources
from co3d.console import say
from co3d.report import check_picture_path, draw_network


def print_explanation(options: ConversionOptions, *, picture: Path | None, as_json: bool) -> None:
    """Print the table of temporal types and the figures of a step program.

    Args:
        options: the network and how to convert it.
        picture: file for a drawing of the network over time; None for none.
        as_json: print one JSON object instead.

    Raises:
        UnknownModelError: no such model.
        ConversionError: the network cannot be converted.
        InputShapeError: the input is smaller than the network can take.
        OptionError: an option is out of range.
        OutputError: the picture cannot be written.
    """
    if picture is not None:
        check_picture_path(picture)  # fails before the slow conversion
    program, shapes = convert_network(options)
    if picture is not None:
        draw_network(program, picture, title=Path(options.network).name)
    if not as_json:
        say(program.explain())
        if picture is not None:
            say(f"wrote {picture}")
        return
    figures = {
        "model": options.network,
        "clip_shapes": shapes,
        "rate": program.rate,
        "receptive_field": program.receptive_field,
        "delay": program.delay,
        "temporal_stride": program.temporal_stride,
        "first_valid_step": program.first_valid_step,
        "window": program.window,
        "state_bytes": program.state_bytes,
        "macs_per_frame": program.macs_per_frame,
        "macs_per_phase": [phase.macs for phase in program.phases],
        "clip_macs": program.clip_macs,
        "recomputed_macs": program.recomputed_macs,
        "approximations": list(program.approximations),
        "fallbacks": list(program.fallbacks),
        "delay_sources": {row.name: frames for row, frames in find_delay_sources(program)},
        "values": [dataclasses.asdict(row) for row in program.rows],
    }
    print(json.dumps(figures, indent=2))
