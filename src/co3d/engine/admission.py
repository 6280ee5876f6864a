"""Whether one more stream fits a machine, by what steps cost it."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from co3d.errors import EngineFullError

RECENT_STEPS = 512
RECENT_FRAMES = 64
LOAD_LIMIT = 0.8
ROUNDING = 1e-9


class StepCost:
    """What a step costs a worker: processor time, and waiting for the interpreter.

    It is the 95th percentile of the latest 512 processor times, times how much longer those steps
    took in all than they computed: threads of small networks wait for Python's lock as long as they
    compute. Waiting for a core does not count (`ThreadClock`). Other programs may use the machine
    while a camera joins, and not afterwards.
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT_STEPS)

    def add(self, processor_seconds: float, elapsed_seconds: float) -> None:
        """Count a step."""
        self._recent.append((processor_seconds, elapsed_seconds))

    def forget(self) -> None:
        """Count from nothing."""
        self._recent.clear()

    @property
    def seconds(self) -> float:
        """The cost; 0 before the first step."""
        recent = list(self._recent)  # to which workers add meanwhile
        if not recent:
            return 0.0
        processor, elapsed = np.array(recent).T
        slowdown = max(1.0, elapsed.sum() / max(processor.sum(), 1e-9))
        return float(np.percentile(processor, 95) * slowdown)


class SourceCost:
    """What a frame of a stream costs the machine before its step: decoding.

    Attributes:
        seconds: processor time of a frame, on average over about the latest 64; until one has been
            counted, what is expected.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self._frames = 0

    @property
    def is_measured(self) -> bool:
        """Whether a frame has been counted."""
        return self._frames > 0

    def add(self, processor_seconds: float) -> None:
        """Count a frame."""
        self._frames = min(self._frames + 1, RECENT_FRAMES)
        self.seconds += (processor_seconds - self.seconds) / self._frames


@dataclass(frozen=True)
class _Place:
    rate_hz: float
    source: SourceCost


class Admission:
    """Counts what streams take of a machine. Not safe for threads: the engine holds a lock.

    Args:
        cost: of a step, as it is measured.
        capacity: processor-seconds per second, that is the number of workers.
        load_limit: the share of it that streams may take; None for no limit.
        max_streams: how many streams there may be; None for no limit.
    """

    def __init__(
        self,
        cost: StepCost,
        capacity: int,
        load_limit: float | None = LOAD_LIMIT,
        max_streams: int | None = None,
    ) -> None:
        self._cost, self._capacity = cost, capacity
        self._load_limit, self._max_streams = load_limit, max_streams
        self._places: dict[str, _Place] = {}

    @property
    def load(self) -> float:
        """The share of the machine that streams need, from 0; above 1 they get less."""
        return self._count_load(self._places.values())

    def reserve(self, name: str, rate_hz: float, source: SourceCost | None = None) -> None:
        """Take a place for a stream.

        Args:
            name: of the stream. rate_hz: steps per second; 0 where it takes what others leave.
            source: what its frames cost, now and later; None for nothing. Where nothing is known of
                it, it is expected to cost what others do on average.

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
            if not self.load:  # no steps will be counted that may turn out cheaper
                self._cost.forget()
            raise EngineFullError(
                f"cannot join {name}: with it {len(self._places) + 1} streams would take "
                f"{load:.0%} of this machine, expected at most {self._load_limit:.0%} (a step "
                f"costs {step_ms:.1f} ms of a processor, decoding its frame {source_ms:.1f} ms, "
                f"and {self._capacity} work); lower rates, close a stream, or choose a smaller "
                "network"
            )
        self._places[name] = wanted

    def release(self, name: str) -> None:
        """Give a stream's place back."""
        del self._places[name]

    def _count_load(self, places: Iterable[_Place]) -> float:
        step_seconds = self._cost.seconds
        taken = sum(one.rate_hz * (step_seconds + one.source.seconds) for one in places)
        return taken / self._capacity

    def _expect_source_seconds(self) -> float:
        """What the sources that have been measured cost on average; 0 where there is none."""
        places = [one for one in self._places.values() if one.rate_hz and one.source.is_measured]
        return sum(one.source.seconds for one in places) / max(1, len(places))
