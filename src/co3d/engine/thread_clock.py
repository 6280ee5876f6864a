"""Measures a thread's processor time, and its elapsed time without waits for a core."""

import os
import time
from pathlib import Path

SCHEDULER_STATISTICS = "/proc/thread-self/schedstat"
"""Linux gives two numbers here: the nanoseconds that this thread ran on a core, and those that it
waited for a core while other threads used it."""

_LONGEST_LINE, _NS_PER_SECOND = 96, 1e9


class ThreadClock:
    """Measures the thread that created it; no other thread may use it.

    Args:
        statistics: the kernel's file; if it is missing, waits for a core count as elapsed time.
    """

    def __init__(self, statistics: str = SCHEDULER_STATISTICS) -> None:
        try:
            self._file = Path(statistics).open("rb", buffering=0)  # noqa: SIM115 (for the thread)
        except OSError:
            self._file = None
        self.start()

    def start(self) -> None:
        """Start a measurement."""
        self._began = self._read()

    def stop(self) -> tuple[float, float]:
        """Processor seconds since `start`, and elapsed seconds without waits for a core."""
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
