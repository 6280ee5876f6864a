"""`co3d watch --check`: open each source once, and print whether all fit this machine."""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice

import torch
from rich.text import Text

from co3d.cli.columns import open_table
from co3d.cli.exit_codes import SUCCESS
from co3d.console import Console, say, warn
from co3d.engine import Engine
from co3d.engine.admission import LOAD_LIMIT
from co3d.engine.camera import Camera
from co3d.engine.describer import MS_PER_SECOND
from co3d.errors import Co3dError, EngineFullError
from co3d.video import hide_password

FRAMES = 16


@dataclass(frozen=True)
class _Checked:
    """The measurements of a camera.

    Attributes:
        width, height: of its pictures, in pixels. source_rate_hz: None if it states none.
        cost_ms: CPU time of a frame: decoding, preprocessing, step. rate_hz: of the network.
        error: why it cannot be labelled; the figures are 0 then.
    """

    camera: Camera
    width: int = 0
    height: int = 0
    source_rate_hz: float | None = None
    cost_ms: float = 0.0
    rate_hz: float = 0.0
    error: Co3dError | None = None


def check_fleet(
    engine: Engine,
    cameras: Sequence[Camera],
    outputs: Mapping[str, Co3dError | None],
    *,
    as_json: bool,
) -> int:
    """Measure the cost of each camera, one after the other, and print it.

    Args:
        engine: the one that labels the cameras.
        outputs: name -> why the output cannot deliver; None if it can.

    Returns:
        0 if all cameras fit this machine; the exit code of the first error of a camera or an
        output, or 38 if the cameras need more than 80 % of the machine.
    """
    checked = []
    for number, camera in enumerate(cameras):
        source = hide_password(camera.source)
        warn(f"opening {camera.name} ({source}), {number + 1} of {len(cameras)}")
        checked.append(_check(engine, camera))
    cores = torch.get_num_threads()
    needed_ms = sum(one.rate_hz * one.cost_ms * (1 + len(one.camera.regions)) for one in checked)
    load = needed_ms / MS_PER_SECOND / cores
    if as_json:
        cameras_said = [_list_fields(one) for one in checked]
        outputs_said = [
            {"name": name, "error": None if error is None else str(error)}
            for name, error in outputs.items()
        ]
        said = {"cores": cores, "load": round(load, 4), "cameras": cameras_said}
        print(json.dumps({**said, "outputs": outputs_said}))
    else:
        _print_table(checked, load, cores)
        for name, error in outputs.items():
            said = "works" if error is None else str(error)
            say(f"output {name}: {said}")
    errors = [*(one.error for one in checked), *outputs.values()]
    failed = [error for error in errors if error is not None]
    if failed:
        return failed[0].exit_code
    return EngineFullError.exit_code if load > LOAD_LIMIT else SUCCESS


def _check(engine: Engine, camera: Camera) -> _Checked:
    rate_hz = camera.rate_hz or engine.card.rate_hz
    try:
        with (
            replace(camera, reconnect_seconds=0).read(rate_hz) as reader,
            closing(engine.compiled.open()) as slot,
        ):
            began, frames = time.process_time(), 0
            for frame in islice(reader, FRAMES):
                engine.compiled.step([slot], engine.card.preprocess(frame.image))
                frames += 1
            cost_ms = (time.process_time() - began) * MS_PER_SECOND / max(frames, 1)
            return _Checked(
                camera, reader.width, reader.height, reader.source_rate_hz, cost_ms, rate_hz
            )
    except Co3dError as error:
        return _Checked(camera, error=error)


def _list_fields(one: _Checked) -> dict[str, object]:
    return {
        "name": one.camera.name,
        "width": one.width,
        "height": one.height,
        "source_rate_hz": one.source_rate_hz,
        "rate_hz": one.rate_hz,
        "cost_ms": round(one.cost_ms, 3),
        "error": None if one.error is None else str(one.error),
    }


def _print_table(checked: Sequence[_Checked], load: float, cores: int) -> None:
    console = Console()
    titles = "camera", "pictures", "frames/s", "labelled/s", "CPU-ms a frame", "of the machine"
    table = open_table(titles)
    for one in checked:
        if one.error is not None:
            continue
        share = one.rate_hz * one.cost_ms / MS_PER_SECOND / cores
        rate = "" if one.source_rate_hz is None else f"{one.source_rate_hz:.3g}"
        table.add_row(
            one.camera.name,
            f"{one.width}x{one.height}",
            rate,
            f"{one.rate_hz:g}",
            f"{one.cost_ms:.1f}",
            f"{share:.1%}",
        )
    console.print(table)
    for one in checked:
        if one.error is not None:
            console.print(Text(f"{one.camera.name}: {one.error}", "red"), soft_wrap=True)
    verdict = "fits" if load <= LOAD_LIMIT else "is too much"
    console.print(
        f"together {load:.0%} of {cores} cores: that {verdict} (at most {LOAD_LIMIT:.0%})",
        highlight=False,
    )
