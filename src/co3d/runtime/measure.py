"""Steps a program on several backends for a moment, to find the one that is quickest here."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from co3d.backends.table import BACKENDS
from co3d.compiler.program import Program
from co3d.runtime.compiled import CompiledProgram

# What is measured takes so long at most, or two steps of each candidate. Blocks of steps are
# repeated, and the best one counts: other programs make a block longer, and none shorter.
TOTAL_SECONDS, BLOCKS, BLOCK_SECONDS = 2.0, 3, 0.03
# Threads of other runtimes spin for a while after their last step.
PAUSE_SECONDS = 0.01
_LOG = logging.getLogger("co3d")

# Seconds that have passed, and seconds of processors that the process has used.
Clock = Callable[[], tuple[float, float]]
# Called with a compiled program, and seconds left for it.
MeasureStep = Callable[[CompiledProgram, float], "StepCost"]


@dataclass(frozen=True)
class StepCost:
    """What a step costs.

    Attributes:
        wall: seconds until it is done.
        cpu: seconds of processors, of all threads.
    """

    wall: float
    cpu: float

    @property
    def score(self) -> float:
        """The geometric mean of both, in seconds; the smaller, the better.

        So n threads are worth it where they make a step more than √n times as quick: threads that
        wait for each other, or spin, are missing elsewhere on a busy machine.
        """
        return math.sqrt(self.wall * self.cpu)


@dataclass(frozen=True)
class Measured:
    """A candidate and what its step costs.

    Attributes:
        backend, threads: the candidate.
        cost: of a step.
    """

    backend: str
    threads: int
    cost: StepCost


def read_clock() -> tuple[float, float]:
    """See `Clock`."""
    return time.perf_counter(), time.process_time()


def measure_candidates(
    program: Program[Any],
    precision: str,
    backends: Sequence[str],
    thread_counts: Sequence[int],
    measure: MeasureStep | None = None,
) -> list[Measured]:
    """Measure the steps of a program on each backend, the best first.

    A backend that cannot compile the program is left out. More threads are not tried where they
    would lose even if they shared the work without loss.

    Args:
        program: any; its graphs are compiled anew, and nothing of it changes.
        precision: of weights and state.
        backends: names of backends of the CPU that are ready.
        thread_counts: rising.
        measure: takes the time of a step; `measure_step` by default.
    """
    measure = measure or measure_step
    found: list[Measured] = []
    share = TOTAL_SECONDS / (len(backends) * len(thread_counts))
    for name in backends:
        alone: StepCost | None = None
        for threads in thread_counts:
            best = min((one.cost.score for one in found), default=math.inf)
            if alone is not None and alone.score / math.sqrt(threads) > best:
                continue
            try:
                cost = measure(_load(program, name, precision, threads), share)
            except Exception as error:  # noqa: BLE001 (a runtime's own errors are of any kind)
                _LOG.info("auto leaves %s out: %s", name, str(error).split("\n")[0])
                break
            alone = alone or cost
            found.append(Measured(name, threads, cost))
    return sorted(found, key=lambda one: one.cost.score)


def measure_step(
    compiled: CompiledProgram, seconds: float = TOTAL_SECONDS, clock: Clock = read_clock
) -> StepCost:
    """The cost of a step far from a video's edges, in a slot of its own.

    Args:
        compiled: the program on a backend.
        seconds: after which no further block of steps is begun.
        clock: tells the time.
    """
    program, generator = compiled.program, torch.Generator().manual_seed(0)
    frames = [torch.rand(1, *shape, generator=generator) for shape in program.frame_shapes]
    period = len(program.phases)
    with compiled.open() as slot:

        def run_period() -> None:
            for _ in range(period):
                compiled.step([slot], frames)

        slot.clock.set(age=-(-program.masked_steps // period) * period)
        start = clock()[0]
        run_period()  # binds memory, and makes what is made when it is first needed
        costs: list[StepCost] = []
        while len(costs) < BLOCKS and (not costs or clock()[0] - start < seconds):
            time.sleep(PAUSE_SECONDS)
            periods, (wall, cpu) = 0, clock()
            while periods == 0 or clock()[0] - wall < BLOCK_SECONDS:
                run_period()
                periods += 1
            now = clock()
            steps = periods * period
            costs.append(StepCost((now[0] - wall) / steps, (now[1] - cpu) / steps))
    return min(costs, key=lambda cost: cost.score)


def _load(program: Program[Any], name: str, precision: str, threads: int) -> CompiledProgram:
    executor = BACKENDS[name].open(precision, torch.device("cpu"), threads)
    return CompiledProgram(program, executor, executor.load(program), executor.description)
