"""Measure all variants of a model interleaved, and compare them."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch

from co3d.benchmark.ceilings import Ceilings, open_ceilings, read_ceilings
from co3d.benchmark.energy import measure_joules, open_meter
from co3d.benchmark.memory import AloneTask, measure_peak_bytes
from co3d.benchmark.peers.select import PEERS
from co3d.benchmark.selection import EAGER, Selection, Variant, What
from co3d.benchmark.subjects import OpenSubject, open_subject
from co3d.benchmark.timing import Latency, OnBurst, ignore_burst, measure
from co3d.compiler import convert
from co3d.compiler.program import Rate
from co3d.errors import OptionError
from co3d.models import create_model, get_card
from co3d.runtime.threads import choose_threads

OnRemark = Callable[[str], None]
"""Called with a sentence about what was left out, and why."""

CLIP, SAME_CLIP = "clip", "clip, same engine"
FASTEST_CLIP = "fastest clip, same precision"


@dataclass(frozen=True)
class Record:
    """One row of a benchmark.

    Attributes:
        what: "clip", a whole clip per prediction; "step", a frame at a time.
        peer: the library that runs it; None for co3d.
        backend: description of what ran it.
        batch: videos at once.
        rate: "dense" or "native". size_px: side of the square frames. clip_frames: of a clip.
        parameters: of the clip network.
        macs_per_prediction: multiply-accumulates of one clip, or of the steps from one result to
            the next, for one video. A peer is counted like ours, since it computes the same.
        frames_per_prediction: number of those steps: 1, or more at native rate.
        state_bytes: carried from frame to frame, for all videos; 0 for a clip.
        latency: in milliseconds per clip, or per frame; for the whole batch. At native rate a
            sample is the mean over the frames of a prediction. Throughput is in clips or frames
            per second, of all videos together.
        convert_seconds, open_seconds: time to convert to a step program, and to compile it.
        speedups: "clip" for the eager clip network, "clip, same engine" for that of the same
            backend and precision, "fastest clip, same precision" for the best of ours in any
            backend, or a peer's name -> its median time for a prediction at the same batch size
            divided by this one.
        times_the_product: median latency as a multiple of the time that a matrix product with as
            many multiply-accumulates takes, timed in the same rounds; None without a ceiling for
            the precision.
        times_the_copy: the same for reading weights, state and frames at the speed of a copy.
        peak_bytes: peak memory of a process that only does this, including its start and
            conversion; on a CUDA device, PyTorch's peak allocation there. None if not requested.
        published_accuracy: name of a measure -> percent, with the published weights.
        joules_per_prediction: energy of the package or GPU per prediction of one video; None if not
            requested.
    """

    model: str
    what: What
    peer: str | None
    backend: str
    precision: str
    batch: int
    threads: int
    rate: Rate
    size_px: int
    clip_frames: int
    parameters: int
    macs_per_prediction: int
    frames_per_prediction: int
    state_bytes: int
    latency: Latency
    convert_seconds: float | None
    open_seconds: float
    speedups: Mapping[str, float]
    times_the_product: float | None
    times_the_copy: float
    peak_bytes: int | None
    published_accuracy: Mapping[str, float]
    joules_per_prediction: float | None = None

    @property
    def prediction_ms(self) -> float:
        """Median time for a prediction, of the whole batch."""
        return self.latency.median_ms * self.frames_per_prediction


def ignore_remark(remark: str) -> None:
    """Ignore a remark about what was left out."""
    del remark


def measure_model(
    name: str,
    selection: Selection,
    on_burst: OnBurst = ignore_burst,
    on_remark: OnRemark = ignore_remark,
) -> tuple[list[Record], Ceilings]:
    """Measure a registered network with random weights, which do not affect speed.

    Args:
        name: of the model.
        selection: what to measure.
        on_burst: called with the progress.
        on_remark: called with the peers that lack this network, and the variants for which the
            device has too little memory.

    Returns:
        A record per variant, and the ceilings measured in the same rounds.

    Raises:
        UnknownModelError, OptionError, InputShapeError, MissingPackageError: the selection names
            something that does not exist.
    """
    model = create_model(name, weights="random")
    channels, frames, side_px, _ = model.card.clip_shape
    size_px = side_px if selection.size_px is None else selection.size_px
    start = time.perf_counter()
    program = convert(model, (channels, frames, size_px, size_px), rate=selection.rate)
    convert_seconds = time.perf_counter() - start
    device = torch.device(selection.device)
    meter = open_meter(device) if selection.energy else None
    model.to(device)
    peers = []
    for peer in selection.peers:
        complaint = PEERS[peer].reason_unavailable(model, program)
        if complaint is None:
            peers.append(peer)
        else:
            on_remark(f"{name}: {peer} {complaint}")
    variants = {str(index): one for index, one in enumerate(selection.variants(peers))}
    # Opened first, so that the device still has memory for them.
    try:
        wanted = (one.precision for one in variants.values())
        limits = open_ceilings(wanted, selection.steps, device)
    except torch.OutOfMemoryError as error:
        raise OptionError(
            f"cannot measure on {device}: it lacks the memory for the matrix products and the copy "
            "that networks are compared with; free some of it, or use another device"
        ) from error
    opened: dict[str, OpenSubject] = {}
    for key, variant in variants.items():
        with suppress(torch.OutOfMemoryError):
            opened[key] = open_subject(variant, model, program, selection.steps, device)
    named = {key: one.subject for key, one in opened.items()}
    with torch.inference_mode():
        measured = measure({**named, **limits}, on_burst=on_burst)
    for key, variant in variants.items():
        if key not in measured:
            on_remark(f"{name}: {_describe(variant)} needs more memory than {device} has")
    ceilings = read_ceilings(measured, device)
    joules: dict[str, float] = {}
    if meter is not None:
        with torch.inference_mode():
            joules = {key: measure_joules(named[key], meter) for key in named if key in measured}
    keys = [key for key in opened if key in measured]
    subjects, latencies = [opened[key] for key in keys], [measured[key] for key in keys]
    peaks: list[int | None] = [None] * len(subjects)
    if selection.memory:
        torch.cuda.empty_cache()  # for the processes started below
        rest = (selection.rate, size_px, torch.get_num_threads(), program.window or 1, str(device))
        peaks = [measure_peak_bytes(AloneTask(name, one.variant, *rest)) for one in subjects]
    records = []
    for key, one, latency, peak_bytes in zip(keys, subjects, latencies, peaks, strict=True):
        variant = one.variant
        product_ms = ceilings.product_ms(one.macs * variant.batch, variant.precision)
        ours = variant.what == "step" and variant.peer is None
        records.append(
            Record(
                model=name,
                what=variant.what,
                peer=variant.peer,
                backend=one.description,
                precision=variant.precision,
                batch=variant.batch,
                threads=choose_threads(program) if ours else torch.get_num_threads(),
                rate=selection.rate,
                size_px=size_px,
                clip_frames=program.clip_frames,
                parameters=sum(parameter.numel() for parameter in model.parameters()),
                macs_per_prediction=one.macs * one.frames_per_prediction,
                frames_per_prediction=one.frames_per_prediction,
                state_bytes=one.state_bytes,
                latency=latency,
                convert_seconds=convert_seconds if ours else None,
                open_seconds=one.open_seconds,
                speedups=_compare(one, latency, subjects, latencies),
                times_the_product=None if not product_ms else latency.median_ms / product_ms,
                times_the_copy=latency.median_ms / ceilings.copy_ms(one.touched_bytes),
                peak_bytes=peak_bytes,
                published_accuracy=dict(get_card(name).published_accuracy),
                joules_per_prediction=joules.get(key),
            )
        )
    return records, ceilings


def _describe(variant: Variant) -> str:
    runner = variant.peer or variant.backend
    return f"the {variant.what} on {runner} in {variant.precision}, batch {variant.batch},"


def _compare(
    one: OpenSubject,
    latency: Latency,
    subjects: Sequence[OpenSubject],
    latencies: Sequence[Latency],
) -> dict[str, float]:
    """The speed-ups over clip networks and peers."""
    own = one.variant
    speedups: dict[str, float] = {}
    is_our_step = own.what == "step" and own.peer is None
    for other, found in zip(subjects, latencies, strict=True):
        variant = other.variant
        if other is one or variant.batch != own.batch:
            continue
        ratio = found.median_ms * other.frames_per_prediction
        ratio /= latency.median_ms * one.frames_per_prediction
        if variant.peer is not None:
            speedups[variant.peer] = ratio
        elif variant.what == "clip":
            engine = variant.backend, variant.precision
            if engine == EAGER:
                speedups[CLIP] = ratio
            elif is_our_step and engine == (own.backend, own.precision):
                speedups[SAME_CLIP] = ratio
            if is_our_step and variant.precision == own.precision:
                speedups[FASTEST_CLIP] = min(ratio, speedups.get(FASTEST_CLIP, ratio))
    return speedups
