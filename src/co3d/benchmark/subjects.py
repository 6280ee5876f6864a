"""What is measured of a model: its clip network, its step, and the same step by other libraries."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from co3d.backends import open_stream
from co3d.backends.select import BACKENDS, PRECISIONS
from co3d.benchmark.ceilings import Ceilings
from co3d.benchmark.timing import Latency, OnBurst, Subject, ignore_burst, measure
from co3d.errors import OptionError
from co3d.models import ClipModel, create_model
from co3d.stream import StepProgram, convert
from co3d.stream.program import Rate

What = Literal["clip", "step", "peer"]
PEERS = ("continual-inference",)
CLIP_SHARE = 10  # timed steps per timed clip


@dataclass(frozen=True)
class Record:
    """One row of a benchmark.

    Attributes:
        what: "clip", the network on a whole clip per prediction; "step", its step program on
            a frame; "peer", that step by another library.
        backend: what ran it, in words.
        batch: videos at once.
        rate: "dense" or "native". size_px: side of the square frames.
        parameters: of the clip network.
        macs_per_prediction: multiply-accumulates of one clip, or of one step on the average over
            frames, for one video. A peer counts as many as our step: it computes the same.
        state_bytes: carried from frame to frame, for all videos; 0 for a clip.
        latency: in milliseconds per clip, or per frame; for the whole batch. Throughput is in
            clips or frames per second, of all videos together.
        convert_seconds, open_seconds: to make the step program, and to compile it.
        speedup_over_clip, speedup_over_peer: median latency of the clip network, or of the first
            peer, at the same batch size divided by this one.
        times_the_floor: median latency as a multiple of the time that a matrix product with as
            many multiply-accumulates takes; None without a ceiling for the precision.
    """

    model: str
    what: What
    backend: str
    precision: str
    batch: int
    threads: int
    rate: Rate
    size_px: int
    parameters: int
    macs_per_prediction: int
    state_bytes: int
    latency: Latency
    convert_seconds: float | None
    open_seconds: float
    speedup_over_clip: float | None
    speedup_over_peer: float | None
    times_the_floor: float | None


@dataclass(frozen=True)
class Selection:
    """What to measure of each model.

    Attributes:
        engines: (backend, precision) pairs.
        batches: numbers of videos at once.
        peers: names of other libraries, of `PEERS`.
        steps: timed steps of each, at least.
        size_px: side of the square frames; None for the model's own.
    """

    engines: tuple[tuple[str, str], ...]
    batches: tuple[int, ...] = (1,)
    rate: Rate = "dense"
    peers: tuple[str, ...] = ()
    steps: int = 100
    size_px: int | None = None


@dataclass(frozen=True)
class _Candidate:
    """A subject with what is known of it before it runs."""

    what: What
    backend: str
    precision: str
    batch: int
    macs: int
    state_bytes: int
    open_seconds: float
    subject: Subject


def select_engines(
    backends: Sequence[str], precisions: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    """All pairs of backend and precision that exist.

    Raises:
        OptionError: an unknown name, or no pair at all.
    """
    for kind, names, known in (
        ("backend", backends, BACKENDS),
        ("precision", precisions, PRECISIONS),
    ):
        unknown = [name for name in names if name not in known]
        if unknown:
            raise OptionError(
                f"cannot measure: got {kind} {unknown[0]!r}, expected one of {', '.join(known)}"
            )
    pairs = tuple((b, p) for b in backends for p in precisions if p in BACKENDS[b].precisions)
    if not pairs:
        raise OptionError(
            f"cannot measure: none of {', '.join(backends)} has the precision "
            f"{' or '.join(precisions)}; try --backend torch"
        )
    return pairs


def measure_model(
    name: str,
    selection: Selection,
    ceilings: Ceilings,
    on_burst: OnBurst = ignore_burst,
) -> list[Record]:
    """Measure a registered network with random weights, which change no speed.

    Args:
        name: of the model.
        on_burst: told how far it is.

    Raises:
        UnknownModelError, OptionError, InputShapeError, MissingPackageError: what was asked for
            does not exist.
    """
    model = create_model(name, weights="random")
    channels, frames, side_px, _ = model.card.clip_shape
    size_px = side_px if selection.size_px is None else selection.size_px
    start = time.perf_counter()
    program = convert(model, (channels, frames, size_px, size_px), rate=selection.rate)
    convert_seconds = time.perf_counter() - start
    candidates = list(_make_candidates(model, program, selection))
    subjects = {str(index): candidate.subject for index, candidate in enumerate(candidates)}
    with torch.inference_mode():
        latencies = list(measure(subjects, on_burst=on_burst).values())
    records = []
    for candidate, latency in zip(candidates, latencies, strict=True):
        medians = {
            other.what: found.median_ms
            for other, found in zip(reversed(candidates), reversed(latencies), strict=True)
            if other.batch == candidate.batch and other.what != "step"
        }
        macs = candidate.macs * candidate.batch
        floor_ms = ceilings.floor_ms(macs, candidate.precision)
        against = medians if candidate.what == "step" else {"clip": medians["clip"]}
        ratios = {what: median_ms / latency.median_ms for what, median_ms in against.items()}
        records.append(
            Record(
                model=name,
                what=candidate.what,
                backend=candidate.backend,
                precision=candidate.precision,
                batch=candidate.batch,
                threads=torch.get_num_threads(),
                rate=selection.rate,
                size_px=size_px,
                parameters=sum(parameter.numel() for parameter in model.parameters()),
                macs_per_prediction=candidate.macs,
                state_bytes=candidate.state_bytes,
                latency=latency,
                convert_seconds=convert_seconds if candidate.what == "step" else None,
                open_seconds=candidate.open_seconds,
                speedup_over_clip=ratios.get("clip"),
                speedup_over_peer=ratios.get("peer"),
                times_the_floor=None if not floor_ms else latency.median_ms / floor_ms,
            )
        )
    return records


def _make_candidates(
    model: ClipModel, program: StepProgram, selection: Selection
) -> Iterator[_Candidate]:
    for batch in selection.batches:
        yield _make_clip(model, program, selection, batch)
        for backend, precision in selection.engines:
            yield _make_step(program, selection, batch, backend, precision)
        for peer in selection.peers:
            yield _make_peer(peer, model, program, selection, batch)


def _make_clip(
    model: nn.Module, program: StepProgram, selection: Selection, batch: int
) -> _Candidate:
    """The clip network as it is: eager, float32, a whole clip per prediction."""
    channels, height, width = program.frame_shape
    clip = torch.randn(batch, channels, program.clip_frames, height, width)
    samples = -(-selection.steps // CLIP_SHARE)
    return _Candidate(
        what="clip",
        backend=f"torch (eager) {torch.__version__}",
        precision="float32",
        batch=batch,
        macs=program.clip_macs,
        state_bytes=0,
        open_seconds=0.0,
        subject=Subject(lambda: model(clip), samples, predictions=batch),
    )


def _make_step(
    program: StepProgram, selection: Selection, batch: int, backend: str, precision: str
) -> _Candidate:
    """A stream in its steady state."""
    start = time.perf_counter()
    stream = open_stream(program, backend=backend, precision=precision, slots=batch)
    open_seconds = time.perf_counter() - start
    frame = torch.randn(batch, *program.frame_shape)
    period = len(program.phases)
    # Full windows, and a whole number of periods, so that the timed ones start at phase 0.
    for _ in range(-(-(program.masked_steps + 1) // period) * period):
        stream.step(frame)
    itemsize = PRECISIONS[precision].itemsize
    return _Candidate(
        what="step",
        backend=stream.backend.removesuffix(" (as asked)"),
        precision=precision,
        batch=batch,
        macs=program.macs_per_frame,
        state_bytes=program.state_bytes * batch * itemsize // program.dtype.itemsize,
        open_seconds=open_seconds,
        subject=_repeat(lambda: stream.step(frame), period, batch, selection.steps),
    )


def _make_peer(
    peer_name: str, model: ClipModel, program: StepProgram, selection: Selection, batch: int
) -> _Candidate:
    """The same network frame by frame, by another library."""
    from co3d.benchmark.peers import continual_inference

    if peer_name not in PEERS:
        raise OptionError(
            f"cannot measure the peer {peer_name!r}: expected one of {', '.join(PEERS)}"
        )
    size_px, stride = program.frame_shape[-1], program.temporal_stride
    if selection.rate == "dense" and stride > 1:
        raise OptionError(
            f"cannot measure {program.name} by {peer_name} in dense rate, which it does not have; "
            "use --rate native"
        )
    start = time.perf_counter()
    peer = continual_inference.build_peer(model, size_px, program.window or 1)
    open_seconds = time.perf_counter() - start
    frame = torch.randn(batch, *program.frame_shape)
    with torch.inference_mode():
        for _ in range(-(-(program.masked_steps + 1) // stride) * stride):
            peer.forward_step(frame)
    return _Candidate(
        what="peer",
        backend=f"{peer_name} {continual_inference.library_version()}",
        precision="float32",
        batch=batch,
        macs=program.macs_per_frame,
        state_bytes=continual_inference.count_state_bytes(peer),
        open_seconds=open_seconds,
        subject=_repeat(lambda: peer.forward_step(frame), stride, batch, selection.steps),
    )


def _repeat(call: Callable[[], object], period: int, batch: int, steps: int) -> Subject:
    """Whole periods as one call, since their steps differ."""

    def run_period() -> None:
        for _ in range(period):
            call()

    samples = -(-steps // period)
    return Subject(run_period if period > 1 else call, samples, period, batch)
