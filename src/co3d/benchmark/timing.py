"""Latency of several subjects, measured in turn so that all of them meet the same machine."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

MS_PER_SECOND = 1e3

# The thread pools of different runtimes spin after their last call and disturb whoever comes next
# (ONNX Runtime's for 40 ms), and caches hold what came before, so each burst starts with calls that
# do not count.
DISCARDED_CALLS, LEAST_DISCARDED_SECONDS, MOST_DISCARDED_SECONDS = 4, 0.1, 0.3
TIMED_CALLS, TIMED_SECONDS = 10, 2.0

OnBurst = Callable[[int, int], None]
"""Told after each burst how many samples there are, and how many there will be."""


@dataclass(frozen=True)
class Subject:
    """Something to time.

    Attributes:
        call: what is timed.
        samples: timed calls that it needs at least.
        steps: equal pieces that a call consists of; a latency is that of one piece.
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
        samples: timed calls. bursts: runs of calls without anything in between.
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
    """What has been measured of one subject so far."""

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
    """For who need not know how far the measurement is."""
    del done, total


def measure(
    subjects: Mapping[str, Subject],
    *,
    on_burst: OnBurst = ignore_burst,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Latency]:
    """Time subjects in rounds, one burst each, until every one has its samples.

    A burst is calls that do not count, 4 or more that take 0.1 s or longer, then 10 that do. Slow
    subjects make fewer calls a burst: no further one starts after 0.3 s of the former kind or 2 s
    of the latter.

    Args:
        subjects: by name.
        on_burst: told how far it is.
        clock: seconds.

    Returns:
        The latencies by the same names, without subjects that a device has too little memory for.
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
    """Some calls that do not count, then some that do."""
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
