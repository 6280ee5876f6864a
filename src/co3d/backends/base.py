"""The protocol of a backend: a step program compiled for slots, a precision and a device."""

from typing import Protocol

from torch import Tensor

from co3d.backends.clock import SlotClock
from co3d.backends.snapshot import Snapshot
from co3d.stream.program import StepProgram


class Runner(Protocol):
    """Runs one step program for a fixed number of slots and owns their state."""

    program: StepProgram
    slots: int
    clock: SlotClock
    description: str

    def step(
        self, frames: tuple[Tensor, ...], active: Tensor, reset: Tensor
    ) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """Advance the active slots by one frame.

        Args:
            frames: (slots, C, H, W) per input; rows of inactive slots are ignored.
            active: (slots,) bool. Inactive slots keep their state bit for bit.
            reset: (slots,) bool, slots that start anew before this step.

        Returns:
            outputs (slots, …), zero in the rows of slots without a new result; valid and fresh
            (slots,) bool.
        """
        ...

    def reset(self, slots: Tensor) -> None:
        """Start the slots of the (slots,) bool mask anew."""
        ...

    def snapshot(self, slot: int) -> Snapshot:
        """Copy the state of one slot."""
        ...

    def restore(self, slot: int, snapshot: Snapshot) -> None:
        """Put a copied state back, in any slot."""
        ...
