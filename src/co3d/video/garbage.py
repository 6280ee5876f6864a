"""Memory of closed containers: PyAV's refer to themselves, so that a full collection frees it."""

import gc
import threading
import time

LEAST_SECONDS = 10.0
"""A full collection takes 0.1 s, during which no thread of Python runs. Where 64 cameras come back
at once one must do for all."""


class _Collector:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._collected_seconds = -LEAST_SECONDS

    def collect(self) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._collected_seconds < LEAST_SECONDS:
                return
            self._collected_seconds = now
        gc.collect()


free_containers = _Collector().collect
"""Free what closed containers hold, unless that was done less than ten seconds ago."""
