"""Measures the cost of a step before any track joins."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from co3d.engine.thread_clock import ThreadClock
from co3d.runtime import CompiledProgram

LEAST_STEPS, MOST_STEPS, SECONDS = 12, 128, 0.3
PICTURE_SHAPE = (360, 640, 3)


class StepCounter(Protocol):
    """Collects the costs of steps."""

    def add(self, processor_seconds: float, elapsed_seconds: float) -> None:
        """Add the times of a step; see `ThreadClock.stop`."""
        ...


def measure_step_cost(
    compiled: CompiledProgram,
    preprocess: Callable[[np.ndarray], Tensor],
    cost: StepCounter,
    workers: int,
) -> None:
    """Measure the cost of a step and its preprocessing, with this many single-threaded workers.

    Each worker steps for 0.3 s, at least 12 steps, so that the 95th percentile is not just the
    slowest one, and at most 128 steps.

    Raises:
        The exception that a step raised.
    """

    def step_often(_: int) -> None:
        torch.set_num_threads(1)
        picture = np.zeros(PICTURE_SHAPE, np.uint8)
        with compiled.open() as slot, ThreadClock() as clock:
            began = time.perf_counter()
            for number in range(MOST_STEPS):
                clock.start()
                compiled.step([slot], preprocess(picture))
                if number >= LEAST_STEPS // 2:  # the first ones fill caches
                    cost.add(*clock.stop())
                if number + 1 >= LEAST_STEPS and time.perf_counter() - began > SECONDS:
                    break

    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(step_often, range(workers)):
            pass
