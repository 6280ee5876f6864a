"""A stream: frames in, results out, for as many slots as it was opened with."""

from dataclasses import dataclass

import torch
from torch import Tensor

from co3d.backends.base import Runner
from co3d.backends.snapshot import Snapshot
from co3d.errors import InputShapeError, OptionError, StreamError
from co3d.stream.program import StepProgram


@dataclass(frozen=True, repr=False)
class StepResult:
    """What one step gives.

    Attributes:
        output: (slots, …), zero for slots that did not step. Row i describes the frame that slot i
            saw `program.delay` steps ago.
        valid: (slots,) bool: whether the window of that result holds real frames only.
    """

    output: Tensor
    valid: Tensor

    def __repr__(self) -> str:
        return f"StepResult(output={tuple(self.output.shape)}, valid={self.valid.tolist()})"


class Stream:
    """Steps a program through the videos of its slots. Made by `open_stream`.

    Slots may start, pause and end independently: `active` names the slots that step, `reset` those
    that start a new video with this step.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    @property
    def program(self) -> StepProgram:
        """The program that runs."""
        return self._runner.program

    @property
    def slots(self) -> int:
        """Number of streams in the batch."""
        return self._runner.slots

    @property
    def backend(self) -> str:
        """What runs the program, in words."""
        return self._runner.description

    def step(
        self, frames: Tensor, *, active: Tensor | None = None, reset: Tensor | None = None
    ) -> StepResult:
        """Advance by one frame.

        Args:
            frames: (slots, C, H, W) of the program's frame shape.
            active: (slots,) bool, default all. Inactive slots keep their state bit for bit.
            reset: (slots,) bool, default none: slots that start anew with this frame.

        Raises:
            InputShapeError: frames or masks of another shape or kind.
            StreamError: an active slot was flushed and not reset.
        """
        expected = (self.slots, *self.program.frame_shape)
        if tuple(frames.shape) != expected or not frames.is_floating_point():
            raise InputShapeError(
                f"cannot step: got frames of shape {tuple(frames.shape)} ({frames.dtype}), "
                f"expected floating-point frames (slots, C, H, W) = {expected}; preprocess each "
                "picture with model.card.preprocess"
            )
        active_slots = self._mask("active", active, default=True)
        reset_slots = self._mask("reset", reset, default=False)
        stuck = active_slots & self._runner.clock.ended & ~reset_slots
        if stuck.any():
            raise StreamError(
                f"cannot step slot {int(stuck.nonzero()[0])}: its video was flushed; reset it first"
            )
        output, valid = self._runner.step(frames, active_slots, reset_slots)
        return StepResult(output, valid)

    def flush(self, slot: int | None = None) -> list[StepResult]:
        """End the video of one slot, or of all, and return the results still under way.

        With edges="both" these are the last `delay` results, as the clip network gives them at a
        clip's end (the last one is that of the whole video); afterwards the slot must be reset. The
        other edges have no end: nothing is returned and nothing changes. Slots that saw no frame
        are left alone.
        """
        if self.program.edges != "both":
            return []
        clock = self._runner.clock
        slots = self._slot_mask(slot) & ~clock.ended & (clock.ages > 0)
        if not slots.any():
            return []
        clock.finish(slots)
        # The clip's result is ready when its last element is; with a stride that is before the
        # delay has passed, unless the clip's length is a multiple of the stride.
        timing = self.program.timing
        remaining = torch.tensor(
            [timing.last_position(age) + timing.delay + 1 - age for age in clock.ages.tolist()]
        )
        nothing = torch.zeros(self.slots, *self.program.frame_shape)
        none = torch.zeros(self.slots, dtype=torch.bool)
        steps = int(remaining[slots].clamp(min=0).max())
        return [
            StepResult(*self._runner.step(nothing, slots & (remaining > step), none))
            for step in range(steps)
        ]

    def reset(self, slot: int | None = None) -> None:
        """Forget the video of one slot, or of all."""
        self._runner.reset(self._slot_mask(slot))

    def snapshot(self, slot: int = 0) -> Snapshot:
        """Copy the state of a slot; `Snapshot.save` writes it to a file."""
        self._slot_mask(slot)
        return self._runner.snapshot(slot)

    def restore(self, snapshot: Snapshot, slot: int = 0) -> None:
        """Continue from a snapshot, in any slot of a stream of the same program.

        Raises:
            StreamError: the snapshot belongs to another program.
        """
        self._slot_mask(slot)
        self._runner.restore(slot, snapshot)

    def _slot_mask(self, slot: int | None) -> Tensor:
        if slot is None:
            return torch.ones(self.slots, dtype=torch.bool)
        if not 0 <= slot < self.slots:
            raise OptionError(f"no such slot: got {slot}, expected 0 to {self.slots - 1}")
        mask = torch.zeros(self.slots, dtype=torch.bool)
        mask[slot] = True
        return mask

    def _mask(self, name: str, mask: Tensor | None, *, default: bool) -> Tensor:
        if mask is None:
            return torch.full((self.slots,), default)
        if mask.dtype != torch.bool or tuple(mask.shape) != (self.slots,):
            raise InputShapeError(
                f"cannot step: got {name} of shape {tuple(mask.shape)} ({mask.dtype}), expected "
                f"({self.slots},) bool, one per slot"
            )
        return mask.cpu()
