"""Rate limits for each client (a token bucket)."""

import time
from collections import OrderedDict
from collections.abc import Callable

MOST_CLIENTS = 10_000


class Throttle:
    """A bucket of permits for each client, which fills at a steady rate.

    Args:
        per_second: permits added per second. burst: the most permits.
        clock: monotonic seconds.
    """

    def __init__(
        self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second, self._burst, self._clock = per_second, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> bool:
        """Take a permit; False if none is left."""
        permits = self._fill(client)
        if permits < 1:
            return False
        self._buckets[client] = permits - 1, self._clock()
        self._buckets.move_to_end(client)
        while len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return True

    def wait_seconds(self, client: str) -> float:
        """Seconds until a client has a permit."""
        return max(0.0, (1 - self._fill(client)) / self._per_second)

    def _fill(self, client: str) -> float:
        permits, since = self._buckets.get(client, (self._burst, 0.0))
        return min(self._burst, permits + (self._clock() - since) * self._per_second)
