"""The clock of every slot: its age, where its video ended, and so what is valid and masked."""

from typing import Any

import torch
from torch import Tensor

from co3d.stream.program import Program

# Later than any frame, yet far enough from the largest integer to add offsets to.
UNKNOWN_END = 1 << 60
# The same for step graphs, where some runtimes count in 32 bits; ages stop well before it.
FAR_END, _OLDEST = 1 << 30, 1 << 28


class SlotClock:
    """Ages and ends of `slots` streams, on the host.

    Attributes:
        ages: (slots,) int64, frames seen since the slot was reset.
        ends: (slots,) int64, index of the video's last frame, UNKNOWN_END while it runs.
    """

    def __init__(self, program: Program[Any], slots: int) -> None:
        self._masked_steps = program.masked_steps
        self._first_valid_step = program.first_valid_step
        self._fresh_phases = torch.tensor([phase.is_fresh for phase in program.phases])
        self._is_always_fresh = bool(self._fresh_phases.all())
        self.ages = torch.zeros(slots, dtype=torch.int64)
        self.ends = torch.full((slots,), UNKNOWN_END, dtype=torch.int64)

    def reset(self, slots: Tensor) -> None:
        """Start the slots of the (slots,) bool mask anew."""
        self.ages[slots] = 0
        self.ends[slots] = UNKNOWN_END

    def finish(self, slots: Tensor) -> None:
        """Declare the newest frame of the slots of the mask their last one."""
        self.ends[slots] = self.ages[slots] - 1

    @property
    def ended(self) -> Tensor:
        """(slots,) bool: whether the video's end is known."""
        return self.ends < UNKNOWN_END

    @property
    def phases(self) -> Tensor:
        """(slots,) int64: which of the program's phases each slot runs next."""
        return self.ages % len(self._fresh_phases)

    def rows_by_phase(self, active: Tensor) -> dict[int, Tensor]:
        """Which active slots run a phase next, as (slots,) bool, by phase, where there are any."""
        if len(self._fresh_phases) == 1:
            return {0: active} if active.any() else {}
        phases = self.phases
        return {phase: active & (phases == phase) for phase in set(phases[active].tolist())}

    def fresh(self, active: Tensor) -> Tensor:
        """(slots,) bool: active, and this step makes a new result."""
        if self._is_always_fresh:
            return active.clone()
        return active & self._fresh_phases[self.phases]

    def needs_masks(self, active: Tensor) -> bool:
        """Whether some active slot still (or again) sees a clip edge."""
        young = self.ages < self._masked_steps
        return bool((active & (young | self.ended)).any())

    def graph_clocks(self) -> tuple[Tensor, Tensor]:
        """(slots,) int64 each: ages and ends as masked graphs take them, which fit 32 bits.

        Far from the start only the distance to the end matters: both are moved back together.
        """
        ages = self.ages.clamp(max=_OLDEST)
        ends = torch.where(self.ended, self.ends - (self.ages - ages), FAR_END)
        return ages, ends

    def valid(self, fresh: Tensor) -> Tensor:
        """(slots,) bool: of the new results those whose window holds real frames only."""
        return fresh & (self.ages >= self._first_valid_step)

    def advance(self, active: Tensor) -> None:
        """One step has passed for the active slots."""
        self.ages += active
