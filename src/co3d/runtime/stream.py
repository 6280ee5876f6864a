"""A stream: frames in, results out, for as many slots as it was opened with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from co3d.compiler.program import Program
from co3d.errors import InputShapeError, OptionError, StreamError
from co3d.runtime.clock import SlotMask
from co3d.runtime.runner import Runner
from co3d.runtime.snapshot import Snapshot


@dataclass(frozen=True, repr=False)
class StepResult:
    """What one step gives.

    Attributes:
        output: (slots, …) on the stream's device, zero for slots without a new result. Row i
            describes the frame that slot i saw `program.delay` steps ago. For a model with several
            outputs a tuple or dict of such tensors, as the model returns it.
        valid: (slots,) bool, on the CPU: a new result, whose window holds real frames only.
        fresh: (slots,) bool, on the CPU: whether this step made a new result. In dense rate every
            active slot has one; in native rate every `program.temporal_stride`-th step.
    """

    output: Any
    valid: Tensor
    fresh: Tensor

    def __repr__(self) -> str:
        shapes = tree_map(lambda tensor: tuple(tensor.shape), self.output)
        return f"StepResult(output={shapes}, valid={self.valid.tolist()})"


class Stream:
    """Steps a program through the videos of its slots. Made by `open_stream`.

    Slots may start, pause and end independently: `active` names the slots that step, `reset` those
    that start a new video with this step.
    """

    def __init__(self, runner: Runner, backend: str) -> None:
        self._runner = runner
        self._backend = backend
        self._frame_shapes = [(runner.slots, *s) for s in runner.program.frame_shapes]
        # Masks that steps take where none are given; nobody writes to them.
        self._masks = {value: np.full(runner.slots, value) for value in (True, False)}

    @property
    def program(self) -> Program[Any]:
        """The program that runs."""
        return self._runner.program

    @property
    def slots(self) -> int:
        """Number of streams in the batch."""
        return self._runner.slots

    @property
    def backend(self) -> str:
        """What runs the program, and why, in words."""
        return self._backend

    def step(
        self,
        frames: Tensor | Sequence[Tensor],
        *,
        active: Tensor | None = None,
        reset: Tensor | None = None,
    ) -> StepResult:
        """Advance by one frame.

        Args:
            frames: (slots, C, H, W) of the program's frame shape; one such tensor per input for
                models that take several.
            active: (slots,) bool, default all. Inactive slots keep their state bit for bit.
            reset: (slots,) bool, default none: slots that start anew with this frame.

        Raises:
            InputShapeError: frames or masks of another shape or kind.
            StreamError: an active slot was flushed and not reset.
        """
        inputs = self._check_frames(frames)
        active_slots = self._mask("active", active, default=True)
        reset_slots = self._mask("reset", reset, default=False)
        stuck = self._runner.clock.find_stuck(active_slots, reset_slots)
        if stuck is not None:
            raise StreamError(f"cannot step slot {stuck}: its video was flushed; reset it first")
        return self._advance(inputs, active_slots, reset_slots)

    def flush(self, slot: int | None = None) -> list[StepResult]:
        """End the video of one slot, or of all, and return the results still under way.

        With edges="both" these are the results of the last `delay` frames, as the clip network
        gives them at a clip's end; afterwards the slot must be reset. The last one is that of the
        whole video, unless a stride left the video's last frames unread: then its result came
        before the video was over, and in dense rate the steps after it slide on. The other edges
        have no end: nothing is returned and nothing changes. Slots that saw no frame are left
        alone.
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
        remaining = np.array(
            [timing.last_position(age) + timing.delay + 1 - age for age in clock.ages.tolist()]
        )
        nothing = tuple(torch.zeros(self.slots, *shape) for shape in self.program.frame_shapes)
        none = np.zeros(self.slots, np.bool_)
        steps = max(0, int(remaining[slots].max()))
        results = [
            self._advance(nothing, slots & (remaining > step), none) for step in range(steps)
        ]
        return [result for result in results if result.fresh.any()]

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

    def _advance(self, frames: tuple[Tensor, ...], active: SlotMask, reset: SlotMask) -> StepResult:
        outputs, valid, fresh = self._runner.step(frames, active, reset)
        return StepResult(self.program.pack_outputs(outputs), valid, fresh)

    def _check_frames(self, frames: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
        inputs = (frames,) if isinstance(frames, Tensor) else tuple(frames)
        if len(inputs) != len(self._frame_shapes):
            raise InputShapeError(
                f"cannot step: got {len(inputs)} tensors of frames, expected "
                f"{len(self._frame_shapes)}, one per input of the model"
            )
        for given, expected in zip(inputs, self._frame_shapes, strict=True):
            if tuple(given.shape) != expected or not given.is_floating_point():
                raise InputShapeError(
                    f"cannot step: got frames of shape {tuple(given.shape)} ({given.dtype}), "
                    f"expected floating-point frames (slots, C, H, W) = {expected}; preprocess "
                    "each picture with model.card.preprocess"
                )
        return inputs

    def _slot_mask(self, slot: int | None) -> SlotMask:
        if slot is None:
            return np.ones(self.slots, np.bool_)
        if not 0 <= slot < self.slots:
            raise OptionError(f"no such slot: got {slot}, expected 0 to {self.slots - 1}")
        mask = np.zeros(self.slots, np.bool_)
        mask[slot] = True
        return mask

    def _mask(self, name: str, mask: Tensor | None, *, default: bool) -> SlotMask:
        if mask is None:
            return self._masks[default]
        if mask.dtype != torch.bool or tuple(mask.shape) != (self.slots,):
            raise InputShapeError(
                f"cannot step: got {name} of shape {tuple(mask.shape)} ({mask.dtype}), expected "
                f"({self.slots},) bool, one per slot"
            )
        return mask.numpy(force=True)
