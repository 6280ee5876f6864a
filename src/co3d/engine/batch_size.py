"""The batch size: how many tracks step in one call."""

from co3d.engine.admission import StepCost

MOST_GPU_TRACKS, MOST_CPU_TRACKS = 64, 8
UPDATE_CALLS = 128
CALL_SECONDS = 5e-3
"""How long a call on one core may take. Python's part of a call takes 0.04 ms, and more where
threads contend for the GIL: 25 % of the 0.7 ms of camera_motion, and 2 % of the 4 ms of X3D-S."""


class BatchSize:
    """Chooses how many of the waiting tracks step in one call.

    Args:
        most: the largest batch; None for as many tracks as a core steps in 5 ms, at most 8, and 1
            until the cost of a step is known.
        cost: the measured cost of a step. workers: how many workers share the tracks.
    """

    def __init__(self, most: int | None, cost: StepCost, workers: int) -> None:
        self._most, self._cost, self._workers = most, cost, max(1, workers)
        self._fit, self._next_update = 1, 0

    def choose(self, joined: int) -> int:
        """The largest batch for this many joined tracks, so that no worker is left without one."""
        if self._most is None and self._cost.calls >= self._next_update:
            # Updated regularly, because a video's first steps cost more than later ones.
            self._next_update = self._cost.calls + UPDATE_CALLS
            step_seconds = self._cost.median_seconds or CALL_SECONDS
            self._fit = max(1, min(int(CALL_SECONDS / step_seconds), MOST_CPU_TRACKS))
        return min(self._most or self._fit, -(-joined // self._workers))
