"""Prepare networks to be timed: on clips or frame by frame, by co3d and by other libraries."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from co3d.backends.table import PRECISIONS
from co3d.benchmark.device import wait_after
from co3d.benchmark.engines import open_clip, open_step
from co3d.benchmark.peers.select import PEERS
from co3d.benchmark.selection import Variant
from co3d.benchmark.timing import Subject
from co3d.compiler import StepProgram
from co3d.models import ClipModel

CLIP_SHARE = 10  # timed steps per timed clip
# A backend prepares a step for each combination of its ring buffers' positions. Rings of 2, 3 and 6
# buffers return to their first positions after 6 periods, after which nothing new is prepared.
SETTLING_PERIODS = 6


@dataclass(frozen=True)
class OpenSubject:
    """A variant of a network, ready to be timed.

    Attributes:
        variant: of the network.
        description: what runs it, with versions.
        macs: multiply-accumulates of one clip, or of one step averaged over frames, for one video.
        frames_per_prediction: steps from one result to the next; 1 for a clip.
        state_bytes: carried from frame to frame, for the whole batch; 0 for a clip.
        touched_bytes: of weights, state and input, which a call has to read.
        open_seconds: time to prepare it, without conversion.
    """

    variant: Variant
    description: str
    macs: int
    frames_per_prediction: int
    state_bytes: int
    touched_bytes: int
    open_seconds: float
    subject: Subject


def open_subject(
    variant: Variant, model: ClipModel, program: StepProgram, steps: int, device: torch.device
) -> OpenSubject:
    """Prepare a variant; if it steps, its windows are full afterwards.

    Args:
        variant: what to run. `Peer.reason_unavailable` must return None for a peer.
        model: the clip network, on the device.
        program: its step program, of the rate and frame size to measure.
        steps: number of timed steps.
        device: of the inputs, and of the results.

    Raises:
        torch.OutOfMemoryError: the device has too little memory.
    """
    if variant.what == "clip":
        return _open_clip(variant, model, program, steps, device)
    return _open_step(variant, model, program, steps, device)


def _open_clip(
    variant: Variant, model: ClipModel, program: StepProgram, steps: int, device: torch.device
) -> OpenSubject:
    """A clip network, with a whole clip per prediction: eager, or in another backend."""
    channels, height, width = program.frame_shape
    shape = (variant.batch, channels, program.clip_frames, height, width)
    clip = torch.randn(shape, device=device)
    start = time.perf_counter()
    run: Callable[[], object] = partial(model, clip)
    description = f"torch {torch.__version__}, eager"
    if variant.peer is not None:
        peer = PEERS[variant.peer].open(model, program.frame_shape[-1], program.window or 1)
        run, description = partial(peer.run, clip), peer.description
    elif (variant.backend, variant.precision) != ("torch", "float32"):
        run, description = open_clip(program, clip, variant.backend, variant.precision)
    return OpenSubject(
        variant=variant,
        description=description,
        macs=program.clip_macs,
        frames_per_prediction=1,
        state_bytes=0,
        touched_bytes=_weight_bytes(model, PRECISIONS[variant.precision].itemsize) + clip.nbytes,
        open_seconds=time.perf_counter() - start,
        subject=Subject(
            wait_after(run, device), -(-steps // CLIP_SHARE), predictions=variant.batch
        ),
    )


def _open_step(
    variant: Variant, model: ClipModel, program: StepProgram, steps: int, device: torch.device
) -> OpenSubject:
    """A network that steps frame by frame, in its steady state."""
    itemsize = PRECISIONS[variant.precision].itemsize
    # In int8 only weights take a byte; frames and state are floats.
    weight_size = 1 if variant.precision == "int8" else itemsize
    frame = torch.randn(variant.batch, *program.frame_shape, device=device)
    state_bytes = program.state_bytes * variant.batch * itemsize // program.dtype.itemsize
    period = program.temporal_stride if program.rate == "native" else 1
    start = time.perf_counter()
    if variant.peer is None:
        stream = open_step(program, variant.backend, variant.precision, variant.batch, device)
        run, peer = stream.step, None
        description = stream.backend.removesuffix(" (as asked)").split(" (auto")[0]
    else:
        peer = PEERS[variant.peer].open(model, program.frame_shape[-1], program.window or 1)
        run, description = peer.run, peer.description
    open_seconds = time.perf_counter() - start
    with torch.inference_mode():
        # Run until windows are full, for whole periods, so that timing starts at phase 0.
        for _ in range((-(-program.masked_steps // period) + SETTLING_PERIODS) * period):
            run(frame)
    if peer is not None:
        state_bytes = peer.count_state_bytes()
    return OpenSubject(
        variant=variant,
        description=description,
        macs=program.macs_per_frame,
        frames_per_prediction=period,
        state_bytes=state_bytes,
        touched_bytes=_weight_bytes(model, weight_size) + state_bytes + frame.numel() * itemsize,
        open_seconds=open_seconds,
        # A live stream's frames arrive one by one, so each step is waited for.
        subject=_repeat(wait_after(lambda: run(frame), device), period, variant.batch, steps),
    )


def _repeat(call: Callable[[], object], period: int, batch: int, steps: int) -> Subject:
    """Time whole periods as one call, because the steps of a period differ."""

    def run_period() -> None:
        for _ in range(period):
            call()

    samples = -(-steps // period)
    return Subject(run_period if period > 1 else call, samples, period, batch)


def _weight_bytes(model: ClipModel, itemsize: int) -> int:
    return itemsize * sum(parameter.numel() for parameter in model.parameters())
