"""The runner: moves all slots on by a frame, and lets an executor do the arithmetic."""

from typing import Any

import torch
from torch import Tensor

from co3d.backends.contract import Executor, StepFunction, make_map
from co3d.compiler.program import Program
from co3d.errors import StreamError
from co3d.runtime.clock import SlotClock, SlotMask
from co3d.runtime.snapshot import Snapshot, check_snapshot


class Runner:
    """Runs one step program for a fixed number of slots.

    When all slots are active and in the same phase nothing is copied: each state drops its oldest
    element and takes the step's newest one in front. Otherwise each phase runs for all rows, and
    the rows that it does not concern are kept by selection.

    Attributes:
        program: what runs.
        slots: number of streams in the batch.
        clock: age and end of every slot.
        executor: compiles and runs the step graphs.
    """

    def __init__(self, program: Program[Any], slots: int, executor: Executor) -> None:
        self.program = program
        self.slots = slots
        self.executor = executor
        self.clock = SlotClock(program, slots)
        elements = [
            [self._empty(spec.shape, spec.dtype).fill_(spec.fill) for _ in range(spec.depth)]
            for spec in program.states
        ]
        self._past = executor.hold(elements)
        frames = executor.take_frames([torch.zeros(slots, *s) for s in program.frame_shapes])
        count = len(program.output_shapes)
        past, clocks = [element for past in elements for element in past], self._clocks()
        self._phases = [
            (
                # A masked graph may serve all ages.
                None
                if phase.steady is phase.masked
                else executor.compile(phase.steady, [*frames, *past], count),
                None
                if phase.masked is None
                else executor.compile(phase.masked, [*frames, *clocks, *past], count),
            )
            for phase in program.phases
        ]

    def step(
        self, frames: tuple[Tensor, ...], active: SlotMask, reset: SlotMask
    ) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """Advance the active slots by one frame.

        Args:
            frames: (slots, C, H, W) per input; rows of inactive slots are ignored.
            active: inactive slots keep their state bit for bit.
            reset: slots that start anew before this step.

        Returns:
            outputs (slots, …), zero in the rows of slots without a new result; which of
            the slots have a valid one, and which a fresh one.
        """
        taken = self.executor.take_frames(frames)
        if any(reset.tolist()):
            self.reset(reset)
        outputs: tuple[Tensor, ...] | None = None
        # Small operators come before the graphs, which drive their code out of the caches.
        due = self.clock.rows_by_phase(active)
        fresh = self.clock.fresh(active)
        valid = self.clock.valid(fresh)
        marks = torch.from_numpy(valid), torch.from_numpy(fresh)
        calls = [(phase, rows, self._choose(phase, taken, rows)) for phase, rows in due.items()]
        ages = self.clock.ages + active  # which they are when the step has gone well
        for phase, rows, (function, inputs) in calls:
            made = self._run_phase(phase, rows, function, inputs)
            if made is not None:
                outputs = made if outputs is None else _add_rows(outputs, made)
        if outputs is None:
            outputs = tuple(
                torch.zeros(
                    (self.slots, *shape),
                    dtype=self.executor.output_dtype,
                    device=self.executor.device,
                )
                for shape in self.program.output_shapes
            )
        self.clock.advance(ages)
        return outputs, *marks

    def reset(self, slots: SlotMask) -> None:
        """Start the slots of the mask anew."""
        rows = self._place(slots)
        for i, spec in enumerate(self.program.states):
            past = self._past.get(i)
            self._past.set(i, [torch.where(_expand(rows, old), spec.fill, old) for old in past])
        self.clock.reset(slots)

    def snapshot(self, slot: int) -> Snapshot:
        """Copy the state of one slot."""
        tensors = {
            spec.name: torch.stack([element[slot] for element in self._past.get(i)]).cpu()
            for i, spec in enumerate(self.program.states)
        }
        age, end = int(self.clock.ages[slot]), int(self.clock.ends[slot])
        return Snapshot(tensors, age, end, self.program.fingerprint)

    def restore(self, slot: int, snapshot: Snapshot) -> None:
        """Put a copied state back, in any slot; it may come from another backend or precision.

        Raises:
            StreamError: the snapshot was made by another program, or is damaged; the slot stays
                as it was.
        """
        if snapshot.fingerprint != self.program.fingerprint:
            raise StreamError(
                "cannot restore: the snapshot belongs to another program "
                f"(got {snapshot.fingerprint[:12]}, expected {self.program.fingerprint[:12]}); "
                "convert the same model with the same options and weights"
            )
        check_snapshot(snapshot, self.program.states)
        for i, spec in enumerate(self.program.states):
            past = [old.clone() for old in self._past.get(i)]
            for element, saved in zip(past, snapshot.tensors[spec.name], strict=True):
                element[slot] = saved.to(self.executor.device)
            self._past.set(i, past)
        self.clock.set(slot, snapshot.age, snapshot.end)

    def _choose(
        self, phase: int, frames: list[Tensor], rows: SlotMask
    ) -> tuple[StepFunction, list[Tensor]]:
        """The step graph that rows of a phase need, and its inputs before the state."""
        steady, masked = self._phases[phase]
        if steady is None or (masked is not None and self.clock.needs_masks(rows)):
            assert masked is not None
            return masked, [*frames, *self._clocks()]
        return steady, frames

    def _run_phase(
        self, phase: int, rows: SlotMask, function: StepFunction, inputs: list[Tensor]
    ) -> tuple[Tensor, ...] | None:
        """Step the rows of a phase; its outputs, zero elsewhere, or None where it has none."""
        here = None if all(rows.tolist()) else self._place(rows)
        updates = self.program.phases[phase].updates
        kept = [] if here is None else [self._past.get(i) for i in updates]
        outputs = self._past.step(function, inputs, updates)
        made = tuple(output for output in outputs if output is not None)
        if here is not None:
            with torch.inference_mode():
                for i, before in zip(updates, kept, strict=True):
                    pairs = zip(self._past.get(i), before, strict=True)
                    self._past.set(i, [torch.where(_expand(here, b), a, b) for a, b in pairs])
                made = tuple(torch.where(_expand(here, o), o, torch.zeros_like(o)) for o in made)
        return made if self.program.phases[phase].is_fresh else None

    def _place(self, slots: SlotMask) -> Tensor:
        return torch.from_numpy(slots).to(self.executor.device)

    def _clocks(self) -> list[Tensor]:
        """What masked graphs know of time: each stream's age and, with its edge, its end."""
        clocks = self.clock.graph_clocks()[: 2 if self.program.edges == "both" else 1]
        return [clock.to(self.executor.device) for clock in clocks]

    def _empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor for a frame or an element of state, given its shape without the slots."""
        executor = self.executor
        dtype = executor.dtype if dtype.is_floating_point else dtype
        return make_map((self.slots, *shape), dtype, executor.device, executor.map_layout)


def _add_rows(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Outputs of two phases: each is zero in the rows of the other."""
    return tuple(a + b for a, b in zip(first, second, strict=True))


def _expand(rows: Tensor, like: Tensor) -> Tensor:
    return rows.view(-1, *[1] * (like.dim() - 1))
