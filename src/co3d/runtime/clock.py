"""The clock of every slot: its age, where its video ended, and so what is valid and masked."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from co3d.compiler.program import Program

# (slots,) bool. Masks and clocks are NumPy's: a step takes some twenty small operators on them, and
# PyTorch takes longer for each, most of all when the step before has driven their code away. Of a
# few slots lists of Python's own are quicker still to ask whether any or all are marked.
SlotMask: TypeAlias = npt.NDArray[np.bool_]

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
        self._fresh_phases = np.array([phase.is_fresh for phase in program.phases])
        self._is_always_fresh = bool(self._fresh_phases.all())
        # Stays true until a slot starts or ends: most steps need not look at ages and ends again.
        self._is_settled = False
        self.ages = np.zeros(slots, np.int64)
        self.ends = np.full(slots, UNKNOWN_END, np.int64)

    def reset(self, slots: SlotMask) -> None:
        """Start the slots of the mask anew."""
        self.set(slots, 0, UNKNOWN_END)

    def set(self, slots: SlotMask | int, age: int, end: int) -> None:
        """Let slots be of this age, and their videos end here."""
        self.ages[slots], self.ends[slots] = age, end
        self._is_settled = False

    def finish(self, slots: SlotMask) -> None:
        """Declare the newest frame of the slots of the mask their last one."""
        self.ends[slots] = self.ages[slots] - 1
        self._is_settled = False

    @property
    def ended(self) -> SlotMask:
        """Of each slot whether the video's end is known."""
        return self.ends < UNKNOWN_END

    def find_stuck(self, active: SlotMask, reset: SlotMask) -> int | None:
        """An active slot whose video has ended and that does not start anew."""
        if self._is_settled:
            return None
        stuck = active & self.ended & ~reset
        return int(stuck.argmax()) if stuck.any() else None

    @property
    def phases(self) -> npt.NDArray[np.int64]:
        """(slots,) int64: which of the program's phases each slot runs next."""
        return self.ages % len(self._fresh_phases)

    def rows_by_phase(self, active: SlotMask) -> dict[int, SlotMask]:
        """Which active slots run a phase next, by phase, where there are any."""
        if len(self._fresh_phases) == 1:
            return {0: active} if any(active.tolist()) else {}
        phases = self.phases
        return {phase: active & (phases == phase) for phase in set(phases[active].tolist())}

    def fresh(self, active: SlotMask) -> SlotMask:
        """The slots that are active, and for which this step makes a new result."""
        if self._is_always_fresh:
            return active.copy()
        return active & self._fresh_phases[self.phases]

    def needs_masks(self, active: SlotMask) -> bool:
        """Whether some active slot still (or again) sees a clip edge."""
        if self._is_settled:
            return False
        young = self.ages < self._masked_steps
        return bool((active & (young | self.ended)).any())

    def graph_clocks(self) -> tuple[Tensor, Tensor]:
        """(slots,) int64 each: ages and ends as masked graphs take them, which fit 32 bits.

        Far from the start only the distance to the end matters: both are moved back together.
        """
        ages = np.minimum(self.ages, _OLDEST)
        ends = np.where(self.ended, self.ends - (self.ages - ages), FAR_END)
        return torch.from_numpy(ages), torch.from_numpy(ends)

    def valid(self, fresh: SlotMask) -> SlotMask:
        """Of the new results those whose window holds real frames only."""
        return fresh.copy() if self._is_settled else fresh & (self.ages >= self._first_valid_step)

    def advance(self, ages: npt.NDArray[np.int64]) -> None:
        """A step is over: slots are now of these ages, `ages + active` of before."""
        self.ages = ages
        if not self._is_settled:
            youngest = max(self._masked_steps, self._first_valid_step)
            self._is_settled = bool((self.ages >= youngest).all() and not self.ended.any())
