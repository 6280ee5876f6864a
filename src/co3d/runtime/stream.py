"""A stream: a fixed number of slots that step together."""

from typing import Any

import torch
from torch import Tensor

from co3d.arguments import check_arguments
from co3d.compiler.program import Program
from co3d.errors import OptionError, StreamError
from co3d.runtime.compiled import CompiledProgram
from co3d.runtime.given import GivenFrames, GivenMask, read_mask
from co3d.runtime.result import StepResult
from co3d.runtime.snapshot import Snapshot


class Stream:
    """Steps a program through the videos of its slots. Made by `open_stream`.

    It is a simple interface to a compiled program, whose results have a row for every slot. Slots
    may start, pause and end independently: `active` marks the slots that step, `reset` those that
    start a new video with this step. Slots that do not step cost nothing.
    """

    def __init__(self, compiled: CompiledProgram, slots: int) -> None:
        self._compiled = compiled
        self._slots = [compiled.open() for _ in range(slots)]
        self._all = list(range(slots))
        self._blank = tuple(torch.zeros(slots, *shape) for shape in self.program.frame_shapes)

    @property
    def program(self) -> Program[Any]:
        """The program that runs."""
        return self._compiled.program

    @property
    def compiled(self) -> CompiledProgram:
        """The compiled program, which can open further slots."""
        return self._compiled

    @property
    def slots(self) -> int:
        """Number of streams that step together."""
        return len(self._slots)

    @property
    def backend(self) -> str:
        """What runs the program, and why, in words."""
        return self._compiled.backend

    def step(
        self,
        frames: GivenFrames,
        *,
        active: GivenMask | None = None,
        reset: GivenMask | None = None,
    ) -> StepResult:
        """Advance by one frame.

        Args:
            frames: (slots, C, H, W) of the program's frame shape, a tensor or an array of NumPy, or
                a list of one frame (C, H, W) per slot; a list of one such array per input for
                models that take several.
            active: (slots,) bool, default all; a tensor, an array or a list. Inactive slots keep
                their state bit for bit.
            reset: (slots,) bool, default none: slots that start a new video with this frame.

        Raises:
            InputShapeError: frames or masks have another shape or type.
            StreamError: an active slot was flushed and not reset, or another thread uses a slot.
        """
        if active is reset is None and all(slot.remaining != 0 for slot in self._slots):
            return self._compiled.step(self._slots, frames)  # the usual case, without overhead
        inputs = self._compiled.check_frames(frames, self.slots)
        stepping = self._read_mask("active", active, self._all)
        starting = self._read_mask("reset", reset, [])
        for row in stepping:
            if self._slots[row].remaining == 0 and row not in starting:
                raise StreamError(f"cannot step slot {row}: its video was flushed; reset it first")
        for row in starting:
            self._slots[row].reset()
        return self._advance(inputs, stepping)

    @check_arguments()
    def flush(self, slot: int | None = None) -> list[StepResult]:
        """End the video of one slot, or of all, and return the results of its last frames.

        With edges="both" these are the results for the last `delay` frames, which equal the clip
        network's at a clip's end; afterwards the slot must be reset. The last one is the result for
        the whole video, unless a stride skips the video's last frames. Then that result was
        returned before the end of the video, and in dense rate later steps are those of a sliding
        window.

        For other edges, and for slots without a frame, it returns nothing and changes nothing.
        """
        rows = self._list_rows(slot)
        remaining = {row: self._slots[row].finish() for row in rows}
        results = [
            self._advance(self._blank, [row for row in rows if remaining[row] > step])
            for step in range(max(remaining.values(), default=0))
        ]
        return [result for result in results if result.fresh.any()]

    @check_arguments()
    def reset(self, slot: int | None = None) -> None:
        """Reset one slot, or all, for a new video."""
        for row in self._list_rows(slot):
            self._slots[row].reset()

    @check_arguments()
    def snapshot(self, slot: int = 0) -> Snapshot:
        """Copy the state of a slot; `Snapshot.save` writes it to a file."""
        self._list_rows(slot)
        return self._slots[slot].snapshot()

    @check_arguments()
    def restore(self, snapshot: Snapshot, slot: int = 0) -> None:
        """Continue from a snapshot, in any slot of a stream of the same program.

        Raises:
            StreamError: the snapshot belongs to another program.
        """
        self._list_rows(slot)
        self._slots[slot].restore(snapshot)

    def close(self) -> None:
        """Free the memory of all slots; the stream cannot step afterwards."""
        for slot in self._slots:
            slot.close()

    def _advance(self, frames: tuple[Tensor, ...], rows: list[int]) -> StepResult:
        if rows == self._all:
            return self._compiled.step(self._slots, frames)
        outputs = self._compiled.make_outputs(self.slots)
        valid, fresh = (torch.zeros(self.slots, dtype=torch.bool) for _ in range(2))
        if rows:
            made = self._compiled.step(
                [self._slots[row] for row in rows], [given[rows] for given in frames]
            )
            valid[rows], fresh[rows] = made.valid, made.fresh
            leaves = self.program.unpack_outputs(made.output)
            for output, part in zip(outputs, leaves, strict=True):
                output[rows] = part
        return StepResult(self.program.pack_outputs(outputs), valid, fresh)

    def _list_rows(self, slot: int | None) -> list[int]:
        if slot is None:
            return self._all
        if not 0 <= slot < self.slots:
            raise OptionError(f"no such slot: got {slot}, expected 0 to {self.slots - 1}")
        return [slot]

    def _read_mask(self, name: str, mask: GivenMask | None, default: list[int]) -> list[int]:
        """The rows that are true in a mask, or the default."""
        if mask is None:
            return default
        return read_mask(name, mask, self.slots)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Stream({self.program.name}, slots={self.slots}, {self.backend})"
