"""What a step costs before anybody joins."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from co3d.engine.admission import StepCost
from co3d.engine.thread_clock import ThreadClock
from co3d.runtime import CompiledProgram

STEPS = 12
PICTURE_SHAPE = (360, 640, 3)


def try_out(
    compiled: CompiledProgram,
    preprocess: Callable[[np.ndarray], Tensor],
    cost: StepCost,
    workers: int,
) -> None:
    """Measure what a step and its preprocessing cost while so many workers step, one thread each.

    Raises:
        What a step raised.
    """

    def step_often(_: int) -> None:
        torch.set_num_threads(1)
        picture = np.zeros(PICTURE_SHAPE, np.uint8)
        with compiled.open() as slot, ThreadClock() as clock:
            for number in range(STEPS):
                clock.start()
                compiled.step([slot], preprocess(picture))
                if number >= STEPS // 2:  # the first ones fill caches
                    cost.add(*clock.stop())

    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(step_often, range(workers)):
            pass
