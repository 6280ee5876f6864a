"""How long a thread computes, and how long what it does takes its process."""

import os
import time
from pathlib import Path

SCHEDULER_STATISTICS = "/proc/thread-self/schedstat"
"""Of Linux: the nanoseconds for which this thread had a core, and those for which it waited for one
that other threads had."""

_LONGEST_LINE, _NS_PER_SECOND = 96, 1e9


class ThreadClock:
    """Times what the thread does that made it; no other thread may use it.

    Args:
        statistics: file of the kernel's; where there is none, waiting for cores counts as elapsed.
    """

    def __init__(self, statistics: str = SCHEDULER_STATISTICS) -> None:
        try:
            self._file = Path(statistics).open("rb", buffering=0)  # noqa: SIM115 (for the thread)
        except OSError:
            self._file = None
        self.start()

    def start(self) -> None:
        """Time what follows."""
        self._began = self._read()

    def stop(self) -> tuple[float, float]:
        """Seconds since `start`: of a processor, and all but the wait for a core."""
        began, now = self._began, self._read()
        return now[0] - began[0], now[1] - began[1]

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _read(self) -> tuple[float, float]:
        waited_ns = 0
        if self._file is not None:
            waited_ns = int(os.pread(self._file.fileno(), _LONGEST_LINE, 0).split()[1])
        return time.thread_time(), time.perf_counter() - waited_ns / _NS_PER_SECOND

    def __enter__(self) -> "ThreadClock":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
