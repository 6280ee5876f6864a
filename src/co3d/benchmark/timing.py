"""Measure latencies of several subjects interleaved, so that all run under equal conditions."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

MS_PER_SECOND = 1e3

# The thread pools of some runtimes keep spinning after their last call and slow down the next
# subject
# (ONNX Runtime's for 40 ms), and caches hold earlier data, so each burst starts with untimed calls.
DISCARDED_CALLS, LEAST_DISCARDED_SECONDS, MOST_DISCARDED_SECONDS = 4, 0.1, 0.3
TIMED_CALLS, TIMED_SECONDS = 10, 2.0

OnBurst = Callable[[int, int], None]
"""Called after each burst with the number of samples so far, and in all."""


@dataclass(frozen=True)
class Subject:
    """Something to time.

    Attributes:
        call: what is timed.
        samples: the least number of timed calls.
        steps: equal pieces of a call; a latency is that of one piece.
        predictions: made by one piece, for all elements of a batch together.
    """

    call: Callable[[], object]
    samples: int
    steps: int = 1
    predictions: float = 1


@dataclass(frozen=True)
class Latency:
    """Latencies in milliseconds, and the predictions per second of whole bursts.

    Attributes:
        samples: timed calls. bursts: runs of uninterrupted calls.
        throughput_mean, throughput_std: predictions per second, over bursts.
    """

    samples: int
    bursts: int
    median_ms: float
    p95_ms: float
    p99_ms: float
    mean_ms: float
    std_ms: float
    throughput_mean: float
    throughput_std: float


@dataclass
class _Measured:
    """The measurements of one subject so far."""

    latencies_ms: list[float] = field(default_factory=list)
    burst_throughputs: list[float] = field(default_factory=list)

    def summarise(self) -> Latency:
        return Latency(
            samples=len(self.latencies_ms),
            bursts=len(self.burst_throughputs),
            median_ms=statistics.median(self.latencies_ms),
            p95_ms=percentile(self.latencies_ms, 95),
            p99_ms=percentile(self.latencies_ms, 99),
            mean_ms=statistics.fmean(self.latencies_ms),
            std_ms=statistics.pstdev(self.latencies_ms),
            throughput_mean=statistics.fmean(self.burst_throughputs),
            throughput_std=statistics.pstdev(self.burst_throughputs),
        )


def ignore_burst(done: int, total: int) -> None:
    """Ignore the progress of the measurement."""
    del done, total


def measure(
    subjects: Mapping[str, Subject],
    *,
    on_burst: OnBurst = ignore_burst,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Latency]:
    """Time subjects in rounds, one burst each, until every subject has its samples.

    A burst is untimed calls (at least 4, for 0.1 s or longer), then 10 timed ones. Slow subjects
    make fewer calls per burst: no further one starts after 0.3 s of untimed or 2 s of timed calls.

    Args:
        subjects: by name.
        on_burst: called with the progress.
        clock: seconds.

    Returns:
        The latencies by name, without subjects for which a device has too little memory.
    """
    measured = {name: _Measured() for name in subjects}
    while pending := [
        name for name, one in measured.items() if len(one.latencies_ms) < subjects[name].samples
    ]:
        for name in pending:
            try:
                _run_burst(subjects[name], measured[name], clock)
            except torch.OutOfMemoryError:
                del measured[name]
            done = (
                min(len(one.latencies_ms), subjects[name].samples) for name, one in measured.items()
            )
            on_burst(sum(done), sum(subjects[name].samples for name in measured))
    return {name: one.summarise() for name, one in measured.items()}


def _run_burst(subject: Subject, measured: _Measured, clock: Callable[[], float]) -> None:
    """Untimed calls, then timed ones."""
    start = before = clock()
    calls = 0
    while before - start < LEAST_DISCARDED_SECONDS or (
        calls < DISCARDED_CALLS and before - start < MOST_DISCARDED_SECONDS
    ):
        subject.call()
        before = clock()
        calls += 1
    start = before = clock()
    calls = 0
    while calls < TIMED_CALLS and before - start < TIMED_SECONDS:
        subject.call()
        after = clock()
        measured.latencies_ms.append((after - before) * MS_PER_SECOND / subject.steps)
        before = after
        calls += 1
    predictions = calls * subject.steps * subject.predictions
    measured.burst_throughputs.append(predictions / (before - start))


def percentile(values: Sequence[float], percent: float) -> float:
    """Percentile of at least one value, linear between neighbours."""
    ordered = sorted(values)
    position = (len(ordered) - 1) * percent / 100
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)
