"""How long to wait before each further attempt to connect."""

import random
from collections.abc import Iterator

FIRST_RETRY_SECONDS = 0.5
LAST_RETRY_SECONDS = 8.0


def retry_delays() -> Iterator[float]:
    """Seconds to wait before each attempt, without end.

    The wait doubles from 0.5 s up to 8 s. Up to half of each wait is removed at random, so that
    clients that lost the same server do not all come back at the same moment.
    """
    delay_seconds = FIRST_RETRY_SECONDS
    while True:
        yield random.uniform(delay_seconds / 2, delay_seconds)  # noqa: S311 (no secret)
        delay_seconds = min(2 * delay_seconds, LAST_RETRY_SECONDS)
