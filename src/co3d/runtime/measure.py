"""Measures the steps of a program on several backends, to find the fastest on this machine."""

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

# Measuring takes at most TOTAL_SECONDS, or the time of two steps per candidate. Blocks of steps are
# repeated and the fastest block counts, because other programs can only make a block slower.
TOTAL_SECONDS, BLOCKS, BLOCK_SECONDS = 2.0, 3, 0.03
# A pause before each block, because threads of other runtimes spin for a while after a step.
PAUSE_SECONDS = 0.01
_LOG = logging.getLogger("co3d")

# Returns elapsed seconds, and processor seconds of this process.
Clock = Callable[[], tuple[float, float]]
# Measures a compiled program, within a number of seconds.
MeasureStep = Callable[[CompiledProgram, float], "StepTime"]


@dataclass(frozen=True)
class StepTime:
    """The time of a step.

    Attributes:
        wall: elapsed seconds.
        cpu: processor seconds of all threads.
    """

    wall: float
    cpu: float

    @property
    def score(self) -> float:
        """The geometric mean of both, in seconds; smaller is better.

        With it, n threads pay only if they make a step more than √n times as fast, because threads
        that wait for each other, or spin, take cores from other work.
        """
        return math.sqrt(self.wall * self.cpu)


@dataclass(frozen=True)
class Measured:
    """A measured candidate.

    Attributes:
        backend, threads: the candidate.
        cost: the time of a step.
    """

    backend: str
    threads: int
    cost: StepTime


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
    """Measure the steps of a program on each backend; returns the best first.

    A backend that cannot compile the program is left out. A larger number of threads is skipped
    where even a perfect speedup could not make it the best.

    Args:
        program: any step program; it is not changed.
        precision: of weights and state.
        backends: names of available CPU backends.
        thread_counts: in ascending order.
        measure: measures a step; `measure_step` by default.
    """
    measure = measure or measure_step
    found: list[Measured] = []
    share = TOTAL_SECONDS / (len(backends) * len(thread_counts))
    for name in backends:
        alone: StepTime | None = None
        for threads in thread_counts:
            best = min((one.cost.score for one in found), default=math.inf)
            if alone is not None and alone.score / math.sqrt(threads) > best:
                continue
            try:
                cost = measure(_load(program, name, precision, threads), share)
            except Exception as error:  # noqa: BLE001 (runtimes raise errors of any type)
                _LOG.info("auto leaves %s out: %s", name, str(error).split("\n")[0])
                break
            alone = alone or cost
            found.append(Measured(name, threads, cost))
    return sorted(found, key=lambda one: one.cost.score)


def measure_step(
    compiled: CompiledProgram, seconds: float = TOTAL_SECONDS, clock: Clock = read_clock
) -> StepTime:
    """Measure a step far from a video's edges, in its own slot.

    Args:
        compiled: the program on a backend.
        seconds: after this time no further block of steps begins.
        clock: see `Clock`.
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
        run_period()  # warm-up: the first steps allocate memory and initialise lazily
        costs: list[StepTime] = []
        while len(costs) < BLOCKS and (not costs or clock()[0] - start < seconds):
            time.sleep(PAUSE_SECONDS)
            periods, (wall, cpu) = 0, clock()
            while periods == 0 or clock()[0] - wall < BLOCK_SECONDS:
                run_period()
                periods += 1
            now = clock()
            steps = periods * period
            costs.append(StepTime((now[0] - wall) / steps, (now[1] - cpu) / steps))
    return min(costs, key=lambda cost: cost.score)


def _load(program: Program[Any], name: str, precision: str, threads: int) -> CompiledProgram:
    executor = BACKENDS[name].open(precision, torch.device("cpu"), threads)
    return CompiledProgram(program, executor, executor.load(program), executor.description)
