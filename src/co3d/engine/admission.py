"""Whether one more stream fits a machine, by what steps cost it."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from co3d.errors import EngineFullError

RECENT_STEPS = 512
LOAD_LIMIT = 0.8
ROUNDING = 1e-9


class StepCost:
    """What a step costs a worker: processor time, and waiting for the interpreter and for cores.

    It is the 95th percentile of the latest 512 processor times, times how much longer those steps
    took in all than they computed. Threads of small networks wait for Python's lock as long as they
    compute, and other programs take their share of the machine: both leave workers less time.
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT_STEPS)

    def add(self, processor_seconds: float, elapsed_seconds: float) -> None:
        """Count a step."""
        self._recent.append((processor_seconds, elapsed_seconds))

    @property
    def seconds(self) -> float:
        """The cost; 0 before the first step."""
        if not self._recent:
            return 0.0
        processor, elapsed = np.array(self._recent).T
        slowdown = max(1.0, elapsed.sum() / max(processor.sum(), 1e-9))
        return float(np.percentile(processor, 95) * slowdown)


@dataclass(frozen=True)
class _Place:
    rate_hz: float
    extra_seconds: float


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

    def reserve(self, name: str, rate_hz: float, extra_seconds: float = 0.0) -> None:
        """Take a place for a stream.

        Args:
            name: of the stream. rate_hz: steps per second; 0 where it takes what others leave.
            extra_seconds: what each of its steps costs the machine beside the engine: decoding.

        Raises:
            EngineFullError: it does not fit.
        """
        if self._max_streams is not None and len(self._places) >= self._max_streams:
            raise EngineFullError(
                f"cannot join {name}: {len(self._places)} streams have joined, and max_streams is "
                f"{self._max_streams}; close one, or raise max_streams"
            )
        wanted = _Place(rate_hz, extra_seconds)
        load = self._count_load([*self._places.values(), wanted])
        if rate_hz and self._load_limit is not None and load > self._load_limit + ROUNDING:
            raise EngineFullError(
                f"cannot join {name}: with it {len(self._places) + 1} streams would take "
                f"{load:.0%} of this machine, expected at most {self._load_limit:.0%} (a step "
                f"costs {self._cost.seconds * 1e3:.1f} ms of a processor, and {self._capacity} "
                "work); lower rates, close a stream, or choose a smaller network"
            )
        self._places[name] = wanted

    def release(self, name: str) -> None:
        """Give a stream's place back."""
        del self._places[name]

    def _count_load(self, places: Iterable[_Place]) -> float:
        step_seconds = self._cost.seconds
        taken = sum(one.rate_hz * (step_seconds + one.extra_seconds) for one in places)
        return taken / self._capacity
