"""What a step costs before anybody joins."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from co3d.engine.admission import StepCost
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
        with compiled.open() as slot:
            for number in range(STEPS):
                began, started = time.thread_time(), time.perf_counter()
                compiled.step([slot], preprocess(picture))
                if number >= STEPS // 2:  # the first ones fill caches
                    cost.add(time.thread_time() - began, time.perf_counter() - started)

    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(step_often, range(workers)):
            pass
