"""Fill an engine with copies of a camera, to measure what one costs where there are many."""

import statistics
import time
from dataclasses import dataclass

from co3d.engine import Engine
from co3d.engine.admission import LOAD_LIMIT
from co3d.engine.camera import Camera
from co3d.fleet.capacity import MS_PER_SECOND
from co3d.fleet.played_camera import PlayedCameras
from co3d.models import ModelCard
from co3d.runtime import CompiledProgram

SECONDS, ROUND_SECONDS = 20.0, 0.5
PERIODS = 5
MOST_COPIES = 256


@dataclass(frozen=True)
class FrameCost:
    """What an engine's admission counts for a frame, in milliseconds of a core.

    Attributes:
        step_ms: for preprocessing and stepping it; see `StepCost`.
        source_ms: for decoding it.
    """

    step_ms: float
    source_ms: float


def fill_engine(compiled: CompiledProgram, card: ModelCard, camera: Camera) -> FrameCost:
    """Let copies of a camera join an engine for 20 s; returns the costs with which the last did.

    Costs depend on the load: while other cores are busy a core is slower, and threads wait for
    Python's lock. Every half second, as many join as half of the room by the costs so far, or one.
    Each copy's second frame is awaited before, so at low rates it takes 5 periods. It ends with 256
    copies, or with one that fails, such as for want of open files.

    Args:
        compiled, card: of the network.
        camera: its source is a recording.

    Raises:
        Co3dError: a copy failed before the first costs were measured.
    """
    rate_hz = camera.rate_hz or card.rate_hz
    # Without its own limit, the engine takes a camera that is too much for this machine.
    with Engine(compiled, card, load_limit=None) as engine, PlayedCameras(engine) as copies:
        tracks, errors = copies.tracks, copies.errors

        def read_cost() -> FrameCost:
            source_seconds = statistics.mean(track.source_cost.seconds for track in tracks)
            return FrameCost(engine.step_cost_ms, source_seconds * MS_PER_SECOND)

        copies.join(camera, rate_hz)
        cost, ends_seconds = None, time.monotonic() + max(SECONDS, PERIODS / rate_hz)
        while time.monotonic() < ends_seconds and len(tracks) < MOST_COPIES and not errors:
            time.sleep(ROUND_SECONDS)
            load = engine.load  # 0 once all have ended
            if not (load and all(track.source_cost.is_measured for track in tracks)):
                continue
            room = len(tracks) * (LOAD_LIMIT / load - 1)
            if room >= 1:
                cost = read_cost()
                for _ in range(min(max(1, int(room / 2)), MOST_COPIES - len(tracks))):
                    copies.join(camera, rate_hz)
        if errors and cost is None:
            raise errors[0]
        return cost or read_cost()
