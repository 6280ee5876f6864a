"""The clock of a slot: its age and its video's end, which decide what is valid and masked."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from co3d.compiler.program import Program

# The end while it is unknown: later than any frame, and so small that adding offsets cannot
# overflow.
UNKNOWN_END = 1 << 60
# The same in step graphs, since some runtimes use 32-bit integers. Ages are kept below about
# _OLDEST.
FAR_END, _OLDEST = 1 << 30, 1 << 28


class ProgramTiming:
    """The timing of a program, which all of its slots share.

    Attributes:
        program: the program.
        masked_steps: how many first steps of a slot need the masked graph.
        first_valid_step: first step whose window holds real frames only.
        is_fresh: for each phase, whether it makes a result.
        has_one_graph: for each phase, whether its masked graph is used for all ages.
        has_masked_graph: for each phase, whether it has a masked graph, which handles clip edges.
    """

    def __init__(self, program: Program[Any]) -> None:
        self.program = program
        self.masked_steps = program.masked_steps
        self.first_valid_step = program.first_valid_step
        self.is_fresh = [phase.is_fresh for phase in program.phases]
        self.has_one_graph = [phase.steady is phase.masked for phase in program.phases]
        self.has_masked_graph = [phase.masked is not None for phase in program.phases]


def count_steps(program: Program[Any], frames: int) -> int:
    """Steps from a video's first frame to its last result, including the flush.

    With a temporal stride, the last result may be ready less than `delay` steps after the last
    frame, if the length is no multiple of the stride.
    """
    timing = program.timing
    return max(frames, timing.last_position(frames) + timing.delay + 1)


class SlotClock:
    """Age and end of one slot.

    Attributes:
        age: frames stepped since the slot was reset, including blank frames of a flush.
        end: index of the video's last frame; UNKNOWN_END while it runs.
    """

    __slots__ = ("_timing", "age", "end")

    def __init__(self, calendar: ProgramTiming) -> None:
        self._timing = calendar
        self.age, self.end = 0, UNKNOWN_END

    def set(self, age: int = 0, end: int = UNKNOWN_END) -> None:
        """Set the age and the end."""
        self.age, self.end = age, end

    def finish(self) -> None:
        """Declare the newest frame the video's last one."""
        self.end = self.age - 1

    @property
    def has_ended(self) -> bool:
        """Whether the video's end is known."""
        return self.end < UNKNOWN_END

    @property
    def remaining(self) -> int:
        """How many steps an ended video still needs for its last result."""
        return max(0, count_steps(self._timing.program, self.end + 1) - self.age)

    @property
    def phase(self) -> int:
        """Which of the program's phases the slot runs next."""
        return self.age % len(self._timing.is_fresh)

    @property
    def is_fresh(self) -> bool:
        """Whether the next step makes a new result."""
        return self._timing.is_fresh[self.phase]

    @property
    def is_valid(self) -> bool:
        """Whether the window of the next step's result is full of real frames."""
        return self.is_fresh and self.age >= self._timing.first_valid_step

    @property
    def is_masked(self) -> bool:
        """Whether the next step needs the masked graph, which handles clip edges."""
        phase = self.phase
        if self._timing.has_one_graph[phase]:
            return True
        sees_an_edge = self.age < self._timing.masked_steps or self.has_ended
        return sees_an_edge and self._timing.has_masked_graph[phase]


def make_graph_clocks(clocks: Sequence[SlotClock], program: Program[Any]) -> tuple[Tensor, ...]:
    """The clock inputs of masked graphs: ages and, with edges="both", ends, as (k,) int64.

    The values fit 32 bits. Far from the start only the phase and the distance to the end matter, so
    that large ages and ends are reduced together by whole periods.
    """
    period = len(program.phases)
    backs = [-(-max(0, clock.age - _OLDEST) // period) * period for clock in clocks]
    ages = [clock.age - back for clock, back in zip(clocks, backs, strict=True)]
    if program.edges != "both":
        return (torch.tensor(ages, device="cpu"),)
    ends = [
        clock.end - back if clock.has_ended else FAR_END
        for clock, back in zip(clocks, backs, strict=True)
    ]
    return torch.tensor(ages, device="cpu"), torch.tensor(ends, device="cpu")
