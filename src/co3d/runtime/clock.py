"""The clock of one slot: its age, where its video ended, and so what is valid and masked."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from co3d.compiler.program import Program

# Later than any frame, yet far enough from the largest integer to add offsets to.
UNKNOWN_END = 1 << 60
# The same for step graphs, where some runtimes count in 32 bits; ages stop well before it.
FAR_END, _OLDEST = 1 << 30, 1 << 28


class Calendar:
    """What a program says of time, read once for all of its slots.

    Attributes:
        program: whose timing it is.
        masked_steps: steps of a slot for which the masked graph is needed.
        first_valid_step: first step whose window holds real frames only.
        is_fresh: of each phase whether it makes a result.
        has_one_graph: of each phase whether its one graph takes clocks at all ages.
        has_masked_graph: of each phase whether it has a graph that sees clip edges.
    """

    def __init__(self, program: Program[Any]) -> None:
        self.program = program
        self.masked_steps = program.masked_steps
        self.first_valid_step = program.first_valid_step
        self.is_fresh = [phase.is_fresh for phase in program.phases]
        self.has_one_graph = [phase.steady is phase.masked for phase in program.phases]
        self.has_masked_graph = [phase.masked is not None for phase in program.phases]


def count_steps(program: Program[Any], frames: int) -> int:
    """Steps from a video's first frame to its last result, the flush included.

    The clip's result is ready when its last element is; with a stride that is before the delay has
    passed, unless the clip's length is a multiple of the stride.
    """
    timing = program.timing
    return max(frames, timing.last_position(frames) + timing.delay + 1)


class SlotClock:
    """Age and end of one slot.

    Attributes:
        age: frames seen since the slot was reset; blank frames of a flush are counted.
        end: index of the video's last frame, UNKNOWN_END while it runs.
    """

    __slots__ = ("_calendar", "age", "end")

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self.age, self.end = 0, UNKNOWN_END

    def set(self, age: int = 0, end: int = UNKNOWN_END) -> None:
        """Let the slot be of this age, and its video end here."""
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
        """Steps that an ended video still has until its last result is out."""
        return max(0, count_steps(self._calendar.program, self.end + 1) - self.age)

    @property
    def phase(self) -> int:
        """Which of the program's phases the slot runs next."""
        return self.age % len(self._calendar.is_fresh)

    @property
    def is_fresh(self) -> bool:
        """Whether the next step makes a new result."""
        return self._calendar.is_fresh[self.phase]

    @property
    def is_valid(self) -> bool:
        """Whether the next step's result has a window of real frames only."""
        return self.is_fresh and self.age >= self._calendar.first_valid_step

    @property
    def is_masked(self) -> bool:
        """Whether the next step needs the graph that sees clip edges."""
        phase = self.phase
        if self._calendar.has_one_graph[phase]:
            return True
        sees_an_edge = self.age < self._calendar.masked_steps or self.has_ended
        return sees_an_edge and self._calendar.has_masked_graph[phase]


def make_graph_clocks(clocks: Sequence[SlotClock], program: Program[Any]) -> tuple[Tensor, ...]:
    """Ages and, with edges="both", ends as masked graphs take them: (k,) int64 that fit 32 bits.

    Far from the start only the phase and the distance to the end matter: both are moved back
    together, by whole periods.
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
