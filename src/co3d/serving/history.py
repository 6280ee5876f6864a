"""The recent history of a stream: runs of one label over the last hours."""

from collections import deque
from dataclasses import dataclass

MOST_RUNS = 5000
GAP_PERIODS = 3


@dataclass(frozen=True)
class LabelRun:
    """A period with one label, in Unix seconds."""

    label: str
    start_seconds: float
    end_seconds: float


class LabelHistory:
    """The latest 5000 label runs of a stream, in wall-clock time.

    Args:
        rate_hz: predictions per second; a run ends when three in a row are missing.
    """

    def __init__(self, rate_hz: float) -> None:
        self._period_seconds = 1 / rate_hz
        self._runs: deque[LabelRun] = deque(maxlen=MOST_RUNS)

    def add(self, label: str, at_seconds: float) -> None:
        """Add the label at a time."""
        last = self._runs[-1] if self._runs else None
        # After the clock was set back, a new run begins.
        is_near = last is not None and (
            -GAP_PERIODS * self._period_seconds
            <= at_seconds - last.end_seconds
            <= GAP_PERIODS * self._period_seconds
        )
        start_seconds = at_seconds
        if last is not None and is_near and last.label == label:
            start_seconds = self._runs.pop().start_seconds
        self._runs.append(LabelRun(label, start_seconds, at_seconds + self._period_seconds))

    def list_since(self, seconds: float) -> list[LabelRun]:
        """Runs that end after a time, oldest first."""
        return [run for run in list(self._runs) if run.end_seconds > seconds]
