"""What a step costs, measured before any stream has joined."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from co3d.engine.admission import StepCost
from co3d.models import ModelCard
from co3d.runtime import CompiledProgram

TRIAL_STEPS = 12
TRIAL_PICTURE_SHAPE = (360, 640, 3)


def try_steps(compiled: CompiledProgram, card: ModelCard, workers: int, cost: StepCost) -> None:
    """Measure what a step costs while so many workers step, a slot each."""

    def step_often(_: int) -> None:
        torch.set_num_threads(1)  # for this thread alone
        picture = np.zeros(TRIAL_PICTURE_SHAPE, np.uint8)
        with compiled.open() as slot:
            for number in range(TRIAL_STEPS):
                began, started = time.thread_time(), time.perf_counter()
                compiled.step([slot], card.preprocess(picture))
                if number >= TRIAL_STEPS // 2:  # the first ones fill caches
                    cost.add(time.thread_time() - began, time.perf_counter() - started)

    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(step_often, range(workers)):
            pass  # which raises what a step raised
