"""Measure what a camera's frame costs on this machine: decoding, preprocessing and step."""

import math
import tempfile
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from av.error import FFmpegError

from co3d.benchmark.ceilings import open_ceilings, read_ceilings
from co3d.benchmark.timing import measure
from co3d.engine.camera import Camera
from co3d.engine.preprocessing import Preprocessor
from co3d.errors import EmptyVideoError
from co3d.fleet.capacity import BITS_PER_BYTE, MS_PER_SECOND, CameraCost
from co3d.fleet.trial import PERIODS, fill_engine
from co3d.models import ModelCard
from co3d.runtime import CompiledProgram
from co3d.video import VideoReader
from co3d.video.packet_ring import PacketRing

RECORDED_SECONDS = 6.0
FRAMES = 48
COPIES = 10
BATCH, BATCH_STEPS = 64, 8


def measure_camera(
    compiled: CompiledProgram, card: ModelCard, camera: Camera, bit_rate_kbps: float | None = None
) -> CameraCost:
    """Record 6 s of a camera, and fill an engine with copies of the recording for 20 s.

    At low rates 5 periods are recorded, which are also as long as it is filled.

    On a GPU one copy is decoded, and its picture stepped 64 times together.

    Args:
        compiled, card: of the network.
        camera: a video file or a folder of pictures is played as it is.
        bit_rate_kbps: used for a folder of pictures, which has none.

    Raises:
        Co3dError: the camera cannot be opened, recorded or stepped.
    """
    rate_hz = camera.rate_hz or card.rate_hz
    with tempfile.TemporaryDirectory(prefix="co3d-capacity-") as folder:
        recording = _record(camera, rate_hz, Path(folder))
        with recording.read(rate_hz) as reader:
            width, height, seconds = reader.width, reader.height, reader.duration_seconds
            alone = None if compiled.device.type == "cpu" else _decode_alone(reader)
        path = Path(recording.source)
        if seconds and path.is_file():
            bit_rate_kbps = path.stat().st_size * BITS_PER_BYTE / 1e3 / seconds
        if alone is None:
            cost = fill_engine(compiled, card, recording)
            source_ms, step_ms = cost.source_ms, cost.step_ms
        else:
            source_ms, picture = alone
            step_ms = _measure_card_ms(compiled, Preprocessor(card, uses_kernel=False)(picture))
    return CameraCost(
        camera.name,
        width,
        height,
        rate_hz,
        source_ms,
        step_ms * (1 + len(camera.regions)),
        bit_rate_kbps,
        compiled.program.state_bytes,
    )


def _record(camera: Camera, rate_hz: float, folder: Path) -> Camera:
    """The camera with a recording as its source, which may be opened again and again."""
    path = Path(camera.source)
    if path.is_file() or path.is_dir():
        return camera
    seconds = max(RECORDED_SECONDS, PERIODS / rate_hz)
    ring, recording = PacketRing(seconds), folder / "recording.mkv"
    with replace(camera, reconnect_seconds=0).read(rate_hz, ring=ring) as reader:
        first = next(reader)
        for frame in reader:
            if frame.pts_seconds - first.pts_seconds >= seconds:
                break
    try:
        is_recorded = ring.cut(recording, -math.inf, math.inf) is not None
    except (FFmpegError, ValueError) as error:
        raise _refuse_recording(camera, str(error)) from error
    if not is_recorded:
        raise _refuse_recording(camera, f"no key frame came in {seconds:g} s")
    return replace(camera, source=str(recording), policy=None, allowance=None)


def _refuse_recording(camera: Camera, reason: str) -> EmptyVideoError:
    return EmptyVideoError(
        f"cannot measure {camera.name}: nothing of it was recorded ({reason}); give a file that "
        "you recorded as its source"
    )


def _decode_alone(reader: VideoReader) -> tuple[float, np.ndarray]:
    """CPU milliseconds per frame of all threads, and the last of up to 48 frames."""
    picture, frames, began = None, 0, time.process_time()
    for frame in islice(reader, FRAMES):
        picture, frames = frame.image, frames + 1
    assert picture is not None, "a video that opens has a frame"
    return (time.process_time() - began) * MS_PER_SECOND / frames, picture


def _measure_card_ms(compiled: CompiledProgram, frame: torch.Tensor) -> float:
    """The GPU's milliseconds per frame where 64 step together."""
    slots = [compiled.open() for _ in range(BATCH)]
    frames = frame.repeat(BATCH, 1, 1, 1)
    try:
        for _ in range(BATCH_STEPS):  # the first ones compile and fill caches
            compiled.step(slots, frames).output.cpu()
        began = time.perf_counter()
        for _ in range(BATCH_STEPS):
            compiled.step(slots, frames).output.cpu()
        return (time.perf_counter() - began) * MS_PER_SECOND / BATCH_STEPS / BATCH
    finally:
        for slot in slots:
            slot.close()


def measure_copy_gb_per_second() -> float:
    """10⁹ bytes per second that memory reads and writes; see `Ceilings`."""
    device = torch.device("cpu")
    latencies = measure(open_ceilings((), COPIES, device))
    return read_ceilings(latencies, device).copy_gb_per_second
