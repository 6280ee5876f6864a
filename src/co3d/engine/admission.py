"""Admission control: whether one more stream fits a machine, by the measured cost of steps."""

import math
import statistics
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from co3d.errors import EngineFullError

RECENT_STEPS = 512
ALL_CALLS, SOME_CALLS, LONG_SECONDS = 64, 8, 0.5e-3
RECENT_FRAMES = 64
LOAD_LIMIT = 0.8
ROUNDING = 1e-9


class StepCost:
    """Measures what a step costs a worker: processor time, and waiting for Python's GIL.

    The cost is the 95th percentile of the latest 512 processor times, times the slowdown: the
    elapsed time of those steps divided by their processor time. The slowdown matters because
    threads of small networks wait for the GIL as long as they compute. Waiting for a core does not
    count (`ThreadClock`), because other programs may use the machine only while a camera joins.

    The slowdown is limited to the number of workers, which is its value if all of a step held the
    GIL. Without the limit it would be too large where the thread that holds the GIL waits for a
    core. Decoders hold the GIL too; that counts as a source's cost.

    The first 64 calls are measured, and then every eighth, because reading the clocks takes 13
    microseconds where Python's part of a call takes 60. While steps take over half a millisecond,
    all are measured, so that the latest 512 tell of the latest seconds.

    Args:
        most_slowdown: the limit of the slowdown: the number of workers on a CPU; infinity on a GPU,
            where waiting for the device is the cost.

    Attributes:
        calls: calls begun so far; each steps one or several tracks.
    """

    def __init__(self, most_slowdown: float = math.inf) -> None:
        self._most_slowdown = most_slowdown
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT_STEPS)
        self.calls = 0
        self._are_long = False

    def begin_call(self, ages: Iterable[int]) -> bool:
        """Count a call; returns whether to measure it.

        A slot's first step is not measured: it also commits the memory of the slot's state, so that
        it takes 37 ms instead of 4.5 with X3D-S.

        Args:
            ages: how often each slot of the call has stepped since it was opened or reset.
        """
        self.calls += 1  # not atomic: two workers may add one together, which does no harm
        is_measured = self._are_long or self.calls <= ALL_CALLS or self.calls % SOME_CALLS == 0
        return is_measured and all(ages)

    def add(self, processor_seconds: float, elapsed_seconds: float) -> None:
        """Add the measured times of a step."""
        self._recent.append((processor_seconds, elapsed_seconds))
        self._are_long = elapsed_seconds > LONG_SECONDS

    def clear(self) -> None:
        """Discard all measurements."""
        self._recent.clear()

    @property
    def median_seconds(self) -> float:
        """The median of the latest 64 processor times; 0 while there are fewer."""
        recent = list(self._recent)[-ALL_CALLS:]  # a copy, because workers append meanwhile
        return statistics.median(one for one, _ in recent) if len(recent) >= ALL_CALLS else 0.0

    @property
    def seconds(self) -> float:
        """The cost; 0 before the first step."""
        recent = list(self._recent)  # a copy, because workers append meanwhile
        if not recent:
            return 0.0
        processor, elapsed = np.array(recent).T
        slowdown = max(1.0, elapsed.sum() / max(processor.sum(), 1e-9))
        slowdown = min(slowdown, self._most_slowdown)
        return float(np.percentile(processor, 95) * slowdown)


class SourceCost:
    """What decoding a frame of a stream costs the machine.

    Attributes:
        seconds: processor time per frame, averaged over about the latest 64 frames; an estimate
            until the first frame is measured.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self._frames = 0

    @property
    def is_measured(self) -> bool:
        """Whether a frame has been measured."""
        return self._frames > 0

    def expect(self, processor_seconds: float) -> None:
        """Estimate the cost by the first frame, which has no pictures before it, if by nothing."""
        self.seconds = self.seconds or processor_seconds

    def add(self, processor_seconds: float) -> None:
        """Add the measured time of a frame."""
        self._frames = min(self._frames + 1, RECENT_FRAMES)
        self.seconds += (processor_seconds - self.seconds) / self._frames


@dataclass(frozen=True)
class _Place:
    rate_hz: float
    source: SourceCost


class Admission:
    """Reserves a machine's capacity for streams. Not thread-safe: the engine holds a lock.

    Args:
        cost: the measured cost of a step.
        capacity: processor-seconds per second, which is the number of workers.
        decoding_cores: cores that decode while a GPU steps; None where the workers' cores do.
        load_limit: the share of the capacity that streams may use; None for no limit.
        max_streams: how many streams there may be; None for no limit.
    """

    def __init__(
        self,
        cost: StepCost,
        capacity: int,
        load_limit: float | None = LOAD_LIMIT,
        max_streams: int | None = None,
        decoding_cores: int | None = None,
    ) -> None:
        self._cost, self._capacity, self._decoding_cores = cost, capacity, decoding_cores
        self._load_limit, self._max_streams = load_limit, max_streams
        self._places: dict[str, _Place] = {}

    @property
    def load(self) -> float:
        """The share of the capacity that streams need; above 1 they get less than they need."""
        return self._count_load(self._places.values())

    def reserve(self, name: str, rate_hz: float, source: SourceCost | None = None) -> None:
        """Reserve capacity for a stream.

        Args:
            name: the stream's name. rate_hz: steps per second; 0 for streams that use only what
                others leave.
            source: the cost of its frames, which is updated as it is measured; None for 0. Until
                then, the average of the other sources is assumed.

        Raises:
            EngineFullError: it does not fit.
        """
        if self._max_streams is not None and len(self._places) >= self._max_streams:
            raise EngineFullError(
                f"cannot join {name}: {len(self._places)} streams have joined, and max_streams is "
                f"{self._max_streams}; close one, or raise max_streams"
            )
        source = source or SourceCost()
        source.seconds = source.seconds or self._expect_source_seconds()
        wanted = _Place(rate_hz, source)
        load = self._count_load([*self._places.values(), wanted])
        if rate_hz and self._load_limit is not None and load > self._load_limit + ROUNDING:
            step_ms, source_ms = self._cost.seconds * 1e3, source.seconds * 1e3
            if not self.load:  # without streams no steps would update a cost that is too high
                self._cost.clear()
            raise EngineFullError(
                f"cannot join {name}: with it {len(self._places) + 1} streams would take "
                f"{load:.0%} of this machine, expected at most {self._load_limit:.0%} (a step "
                f"costs {step_ms:.1f} ms of a processor, decoding its frame {source_ms:.1f} ms, "
                f"and {self._describe_capacity()}); lower rates, close a stream, or choose a "
                "smaller network"
            )
        self._places[name] = wanted

    def release(self, name: str) -> None:
        """Release a stream's capacity."""
        del self._places[name]

    def _describe_capacity(self) -> str:
        if self._decoding_cores is None:
            return f"{self._capacity} work"
        return f"{self._capacity} steps while {self._decoding_cores} decode"

    def _count_load(self, places: Iterable[_Place]) -> float:
        steps = sources = 0.0
        for one in places:
            steps += one.rate_hz * self._cost.seconds
            sources += one.rate_hz * one.source.seconds
        if self._decoding_cores is None:
            return (steps + sources) / self._capacity
        return max(steps / self._capacity, sources / self._decoding_cores)

    def _expect_source_seconds(self) -> float:
        """The average cost of the measured sources; 0 where there is none."""
        places = [one for one in self._places.values() if one.rate_hz and one.source.is_measured]
        return sum(one.source.seconds for one in places) / max(1, len(places))
