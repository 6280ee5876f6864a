"""Free the memory of closed containers: PyAV's are reference cycles, freed by full collections."""

import threading
import time

from co3d.free_memory import give_memory_back

LEAST_SECONDS = 10.0
"""At least this time passes between two full collections, each of which stops all Python threads
for 0.1 s: where 64 cameras reconnect at once, one collection serves all."""


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
        give_memory_back()


free_containers = _Collector().collect
"""Free what closed containers hold, unless that was done less than ten seconds ago."""
