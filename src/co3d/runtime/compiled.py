"""The compiled program: a step program compiled for one device and any number of streams."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from co3d.backends.contract import Executable, Executor
from co3d.compiler.program import Program
from co3d.errors import InputShapeError, OptionError, StreamError
from co3d.forks import protect_forks
from co3d.runtime.clock import ProgramTiming, SlotClock, make_graph_clocks
from co3d.runtime.given import GivenFrames, describe_given, gather_frames
from co3d.runtime.result import StepResult
from co3d.runtime.slot import Slot
from co3d.runtime.successor import Successor

_SLOTS_ADVICE = "; give one array (slots, C, H, W), or a list of one frame (C, H, W) per slot"
# Identifies a step graph: the phase, and whether it is the masked graph.
_Kind = tuple[int, bool]

protect_forks()


class CompiledProgram:
    """A program with its packed weights, plans and kernels. Made by `co3d.compile`.

    It is immutable, so threads share it. Different slots may step in different threads at the same
    time. For example::

        compiled = co3d.compile(program)
        door, yard = compiled.open(), compiled.open()
        result = compiled.step([door, yard], frames)  # frames (2, C, H, W)
        result = compiled.step([yard], frame)         # the door does not step, and costs nothing
        door.close()

    Attributes:
        program: the step program.
        backend: what runs it now, and why, in words.
        device: the device of results.
        threads: the most threads that a step on a CPU uses.
    """

    def __init__(
        self,
        program: Program[Any],
        executor: Executor,
        executable: Executable,
        backend: str,
        threads: int = 1,
        successor: Successor | None = None,
    ) -> None:
        self.program = program
        self.backend = backend
        self.device = executor.device
        self._output_dtype = executor.output_dtype
        self._executable, self._successor = executable, successor
        self._may_autocast = torch.amp.is_autocast_available(executor.device.type)
        self._timing = ProgramTiming(program)
        self.threads, self._process = threads, os.getpid()

    def open(self) -> Slot:
        """Open a slot, ready for a video's first frame; it has its own ring buffers and clock."""
        return Slot(self, self.program, SlotClock(self._timing), self._executable)

    def step(self, slots: Sequence[Slot], frames: GivenFrames) -> StepResult:
        """Advance some slots by one frame each. Other slots are not touched and cost nothing.

        Args:
            slots: k slots of this program, each named once.
            frames: (k, C, H, W) of the program's frame shape, floating, in the order of the slots,
                a tensor or an array of NumPy, or a list of k frames (C, H, W); a list of one such
                array per input for models that take several. Rows of slots that are finished are
                ignored.

        Returns:
            The result, with k rows in the order of the slots.

        Raises:
            InputShapeError: frames of another shape or kind.
            OptionError: a slot is named twice.
            StreamError: a slot is closed, or used by another thread, or its video is over; or this
                process was forked since the program was compiled for several threads.
        """
        if self.threads > 1 and self._process != os.getpid():
            raise StreamError(
                f"cannot step: this process was forked, and lacks the {self.threads} threads that "
                "the program was compiled with; compile it here, or start processes with 'spawn'"
            )
        if not isinstance(slots, list | tuple):
            raise OptionError(
                f"cannot step: got slots = a {type(slots).__name__}, expected a list of slots that "
                "`open` gave; put a single one into a list"
            )
        inputs = self.check_frames(frames, len(slots))
        if len(set(map(id, slots))) != len(slots):
            raise OptionError("cannot step: a slot is named twice; name each slot once a step")
        if any(getattr(slot, "owner", None) is not self for slot in slots):
            raise StreamError(
                "cannot step: a slot is of another compiled program; open slots with this one, and "
                "move streams between programs with snapshots"
            )
        token = object()
        try:
            for slot in slots:
                slot.take(token)
            return self._step(slots, inputs)
        finally:
            for slot in slots:
                slot.let_go(token)

    def check_frames(self, frames: GivenFrames, rows: int) -> tuple[Tensor, ...]:
        """Check frames, and return them as one tensor per input.

        Raises:
            InputShapeError: they are not (rows, C, H, W) of the program's frame shapes, floating.
        """
        shapes = self.program.frame_shapes
        inputs: tuple[Any, ...] = (
            (frames,) if isinstance(frames, Tensor) else gather_frames(frames, len(shapes), rows)
        )
        if len(inputs) != len(shapes):
            raise InputShapeError(
                f"cannot step: got {len(inputs)} arrays of frames for {rows} slots, expected "
                f"{len(shapes)}, one per input of the model{_SLOTS_ADVICE * (len(shapes) == 1)}"
            )
        for given, shape in zip(inputs, shapes, strict=True):
            is_plain = (
                isinstance(given, Tensor)
                and given.is_floating_point()
                and given.layout == torch.strided
                and (not given.is_meta or self.device.type == "meta")
            )
            if not is_plain or tuple(given.shape) != (rows, *shape):
                raise InputShapeError(
                    f"cannot step: got {describe_given(given)}, expected floating-point frames "
                    f"(slots, C, H, W) = {(rows, *shape)}; preprocess each picture with "
                    "model.card.preprocess"
                )
        return inputs

    def make_outputs(self, rows: int) -> tuple[Tensor, ...]:
        """Zero outputs for this many slots."""
        return tuple(
            torch.zeros((rows, *shape), dtype=self._output_dtype, device=self.device)
            for shape in self.program.output_shapes
        )

    def _step(self, slots: Sequence[Slot], inputs: tuple[Tensor, ...]) -> StepResult:
        successor = self._successor
        if successor is not None and (made := successor.take()) is not None:
            self._executable, self.backend = made.executable, made.description
            self._successor = None
        executable = self._executable  # read once, because another thread may replace it
        for slot in slots:
            slot.check_step()
            if slot.executable is not executable:
                slot.move(executable)
        fresh = _make_mask([slot.clock.is_fresh for slot in slots])
        valid = _make_mask([slot.clock.is_valid for slot in slots])
        kinds: dict[_Kind, list[int]] = {}
        for row, slot in enumerate(slots):
            kinds.setdefault((slot.clock.phase, slot.clock.is_masked), []).append(row)
        outputs: tuple[Tensor, ...] | None = None
        for kind, rows in kinds.items():
            if len(rows) == len(slots):
                outputs = self._run(executable, kind, slots, inputs)
                break
            group = [slots[row] for row in rows]
            made = self._run(executable, kind, group, _take_rows(inputs, rows))
            if made is not None:
                outputs = self.make_outputs(len(slots)) if outputs is None else outputs
                for output, part in zip(outputs, made, strict=True):
                    output[rows] = part
        if outputs is None:
            outputs = self.make_outputs(len(slots))
        return StepResult(self.program.pack_outputs(outputs), valid, fresh)

    def _run(
        self,
        executable: Executable,
        kind: _Kind,
        slots: Sequence[Slot],
        frames: Sequence[Tensor],
    ) -> tuple[Tensor, ...] | None:
        """Step slots that run the same graph; returns None where the phase makes no outputs."""
        phase, is_masked = kind
        clocks = (
            make_graph_clocks([slot.clock for slot in slots], self.program) if is_masked else ()
        )
        states = [slot.state for slot in slots]
        for slot in slots:
            slot.begin_step()
        kind_of_device = self.device.type
        if self._may_autocast and torch.is_autocast_enabled(kind_of_device):
            # The caller's autocast must not change the precision of the program.
            with torch.autocast(kind_of_device, enabled=False):
                made = executable.step(phase, is_masked, states, frames, clocks)
        else:
            made = executable.step(phase, is_masked, states, frames, clocks)
        for slot in slots:
            slot.end_step()
        if not self._timing.is_fresh[phase]:
            return None
        return tuple(output for output in made if output is not None)

    def __repr__(self) -> str:
        return f"CompiledProgram({self.program.name}, {self.backend})"


def _make_mask(marks: Sequence[bool]) -> Tensor:
    """A (k,) bool tensor, made with NumPy, which takes a third of PyTorch's time."""
    return torch.from_numpy(np.array(marks, np.bool_))


def _take_rows(frames: Sequence[Tensor], rows: Sequence[int]) -> list[Tensor]:
    """Select rows of frames: a view if they are consecutive, which is usual."""
    first, last = rows[0], rows[-1]
    if last - first == len(rows) - 1:  # rows are in ascending order
        return [given[first : last + 1] for given in frames]
    return [given[list(rows)] for given in frames]
