"""Maps sequences of Triton's sequence batcher to slots of a compiled program; imports no Triton."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from co3d.errors import StreamError
from co3d.runtime.compiled import CompiledProgram
from co3d.runtime.slot import Slot

# Triton forgets a sequence once no request has come for the idle time. A request that came just
# before may still be in its queue, so the slot is held for the idle time once more.
_KEPT_IDLE_TIMES = 2


@dataclass(frozen=True)
class SequenceFrame:
    """A frame of a sequence, with the sequence batcher's control flags.

    Attributes:
        sequence_id: the client's correlation id, a number or a name.
        starts: whether it is the first frame of its sequence. ends: whether it is the last one.
        inputs: one array (1, C, H, W) per input of the network; they are copied.
    """

    sequence_id: int | str
    starts: bool
    ends: bool
    inputs: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class SequenceResult:
    """The result of one frame's step.

    Attributes:
        outputs: one tensor (…) per output of the network. valid, fresh: as `StepResult` has them.
        flushed: the results that were still pending when the sequence ended, oldest first; only
            programs with edges="both" have some.
    """

    outputs: tuple[Tensor, ...]
    valid: bool
    fresh: bool
    flushed: tuple["SequenceResult", ...] = ()


@dataclass
class _Sequence:
    """A sequence that has started: its slot, and when it last stepped."""

    slot: Slot
    stepped_seconds: float


class SequenceSlots:
    """One slot for each sequence that has started and has not ended.

    Triton does not report sequences that time out. State still never passes from one sequence to
    another: a first frame always resets its slot, and frames of a sequence without a slot are
    refused. Slots of timed-out sequences are freed twice the idle time after their last step, at
    the next step of any sequence. Since Triton starts new sequences in free or timed-out places, at
    most twice as many slots are held as the model has places.

    Args:
        compiled: the program that steps the slots.
        idle_seconds: after which Triton forgets a sequence.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        compiled: CompiledProgram,
        idle_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._compiled, self._clock = compiled, clock
        self._kept_seconds = _KEPT_IDLE_TIMES * idle_seconds
        self._sequences: dict[int | str, _Sequence] = {}
        self._blank = [torch.zeros(1, *shape) for shape in compiled.program.frame_shapes]

    def __len__(self) -> int:
        """Number of slots that are held."""
        return len(self._sequences)

    def step(self, frames: Sequence[SequenceFrame]) -> list[SequenceResult | StreamError]:
        """Advance several sequences by one frame each.

        Args:
            frames: of different sequences.

        Returns:
            For each frame its result, or the reason why it was refused.

        Raises:
            Exception: the step itself failed; the sequences of the frames must start again.
        """
        self._free_idle(spared={frame.sequence_id for frame in frames})
        refused = {row: error for row, f in enumerate(frames) if (error := self._refuse(f))}
        accepted = [row for row in range(len(frames)) if row not in refused]
        made = dict(zip(accepted, self._advance([frames[row] for row in accepted]), strict=True))
        return [refused.get(row) or made[row] for row in range(len(frames))]

    def close(self) -> None:
        """Free all slots."""
        for sequence_id in list(self._sequences):
            self._free(sequence_id)

    def _refuse(self, frame: SequenceFrame) -> StreamError | None:
        """Why a frame cannot be stepped; None if it can."""
        if not frame.sequence_id:
            return StreamError(
                "cannot step: the request has no correlation id that reached the model; give each "
                "sequence a number above 0, or update Triton, which drops names"
            )
        if not frame.starts and frame.sequence_id not in self._sequences:
            return StreamError(
                f"cannot step sequence {frame.sequence_id}: it has not started here, was idle for "
                "too long, or failed; mark its next frame as the start"
            )
        return None

    def _advance(self, frames: Sequence[SequenceFrame]) -> list[SequenceResult]:
        if not frames:
            return []
        try:
            slots = [self._find_slot(frame) for frame in frames]
            inputs = [
                torch.from_numpy(np.concatenate(arrays))
                for arrays in zip(*(frame.inputs for frame in frames), strict=True)
            ]
            results = self._run(slots, inputs)
            return [
                self._finish(frame.sequence_id, result) if frame.ends else result
                for frame, result in zip(frames, results, strict=True)
            ]
        except BaseException:
            # A failed step may have advanced part of the states only.
            for frame in frames:
                self._free(frame.sequence_id)
            raise

    def _find_slot(self, frame: SequenceFrame) -> Slot:
        """The slot of a frame's sequence, reset if the sequence starts."""
        now = self._clock()
        sequence = self._sequences.get(frame.sequence_id)
        if sequence is None:
            sequence = _Sequence(self._compiled.open(), now)
            self._sequences[frame.sequence_id] = sequence
        elif frame.starts:
            sequence.slot.reset()
        sequence.stepped_seconds = now
        return sequence.slot

    def _run(self, slots: list[Slot], inputs: list[Tensor]) -> list[SequenceResult]:
        result = self._compiled.step(slots, inputs)
        leaves = self._compiled.program.unpack_outputs(result.output)
        valid, fresh = result.valid.tolist(), result.fresh.tolist()
        return [
            SequenceResult(tuple(leaf[row] for leaf in leaves), valid[row], fresh[row])
            for row in range(len(slots))
        ]

    def _finish(self, sequence_id: int | str, result: SequenceResult) -> SequenceResult:
        """End a sequence: its last frame's result, with the pending results flushed."""
        slot = self._sequences[sequence_id].slot
        flushed = [self._run([slot], self._blank)[0] for _ in range(slot.finish())]
        self._free(sequence_id)
        fresh = tuple(late for late in flushed if late.fresh)
        return SequenceResult(result.outputs, result.valid, result.fresh, fresh)

    def _free_idle(self, spared: set[int | str]) -> None:
        oldest_seconds = self._clock() - self._kept_seconds
        for sequence_id, sequence in list(self._sequences.items()):
            if sequence.stepped_seconds < oldest_seconds and sequence_id not in spared:
                self._free(sequence_id)

    def _free(self, sequence_id: int | str) -> None:
        sequence = self._sequences.pop(sequence_id, None)
        if sequence is not None:
            sequence.slot.close()
