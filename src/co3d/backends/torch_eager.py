"""The reference backend: the step graphs as PyTorch runs them, operator by operator."""

import copy

import torch
from torch import Tensor, fx

from co3d.backends.clock import SlotClock
from co3d.backends.snapshot import Snapshot
from co3d.errors import StreamError
from co3d.stream.program import StepProgram


class TorchRunner:
    """Runs a step program eagerly; state rotates by moving references.

    When all slots are active nothing is copied: each state drops its oldest element and takes the
    step's newest one in front. When some are not, their rows are kept by selection. Maps lie in
    memory with channels last, as the program's weights do.
    """

    def __init__(
        self, program: StepProgram, slots: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.program = program
        self.slots = slots
        self.clock = SlotClock(program, slots)
        name = str(dtype).removeprefix("torch.")
        self.description = f"torch (eager), {name} on {device}"
        self._dtype, self._device = dtype, device
        self._steady = _place(program.steady, dtype, device)
        self._masked = None if program.masked is None else _place(program.masked, dtype, device)
        self._past = [
            [self._empty((slots, *spec.shape)).fill_(spec.fill)] * spec.depth
            for spec in program.states
        ]

    def step(self, frames: Tensor, active: Tensor, reset: Tensor) -> tuple[Tensor, Tensor]:
        """See `Runner.step`."""
        # The caller may reuse its buffer, and the program may remember the frame: take a copy.
        frames = self._empty(frames.shape).copy_(frames)
        if reset.any():
            self.reset(reset)
        with torch.inference_mode():
            output, newest = self._run(frames, active)
            if active.all():
                for past, element in zip(self._past, newest, strict=True):
                    past.insert(0, element)
                    past.pop()
            else:
                output = self._keep_inactive(output, newest, active.to(self._device))
        valid = self.clock.valid(active)
        self.clock.advance(active)
        return output, valid

    def reset(self, slots: Tensor) -> None:
        """See `Runner.reset`."""
        rows = slots.to(self._device)
        for i, spec in enumerate(self.program.states):
            self._past[i] = [
                torch.where(_expand(rows, old), spec.fill, old) for old in self._past[i]
            ]
        self.clock.reset(slots)

    def snapshot(self, slot: int) -> Snapshot:
        """See `Runner.snapshot`."""
        tensors = {
            spec.name: torch.stack([element[slot] for element in past]).cpu()
            for spec, past in zip(self.program.states, self._past, strict=True)
        }
        age, end = int(self.clock.ages[slot]), int(self.clock.ends[slot])
        return Snapshot(tensors, age, end, self.program.fingerprint)

    def restore(self, slot: int, snapshot: Snapshot) -> None:
        """See `Runner.restore`.

        Raises:
            StreamError: the snapshot was made by another program.
        """
        if snapshot.fingerprint != self.program.fingerprint:
            raise StreamError(
                "cannot restore: the snapshot belongs to another program "
                f"(got {snapshot.fingerprint[:12]}, expected {self.program.fingerprint[:12]}); "
                "convert the same model with the same options and weights"
            )
        for past, spec in zip(self._past, self.program.states, strict=True):
            saved = snapshot.tensors[spec.name]
            for i, old in enumerate(past):
                past[i] = old.clone()
                past[i][slot] = saved[i].to(self._device)
        self.clock.ages[slot] = snapshot.age
        self.clock.ends[slot] = snapshot.end

    def _run(self, frames: Tensor, active: Tensor) -> tuple[Tensor, list[Tensor]]:
        past = [element for elements in self._past for element in elements]
        if self._masked is not None and self.clock.needs_masks(active):
            ages = self.clock.ages.to(self._device)
            clocks = [ages]
            if self.program.edges == "both":
                clocks.append(self.clock.ends.to(self._device))
            output, *newest = self._masked(frames, *clocks, *past)
        else:
            output, *newest = self._steady(frames, *past)
        return output, newest

    def _keep_inactive(self, output: Tensor, newest: list[Tensor], active: Tensor) -> Tensor:
        for i, element in enumerate(newest):
            shifted = [element, *self._past[i][:-1]]
            self._past[i] = [
                torch.where(_expand(active, old), new, old)
                for new, old in zip(shifted, self._past[i], strict=True)
            ]
        return torch.where(_expand(active, output), output, torch.zeros_like(output))

    def _empty(self, shape: tuple[int, ...]) -> Tensor:
        layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
        return torch.empty(shape, dtype=self._dtype, device=self._device, memory_format=layout)


def _place(graph: fx.GraphModule, dtype: torch.dtype, device: torch.device) -> fx.GraphModule:
    """The graph with its weights in `dtype` on `device`, shared when they are there already."""
    weights = [b for b in graph.buffers() if b.is_floating_point()]
    if all(b.dtype == dtype and b.device == device for b in weights):
        return graph
    return copy.deepcopy(graph).to(device=device, dtype=dtype)


def _expand(rows: Tensor, like: Tensor) -> Tensor:
    return rows.view(-1, *[1] * (like.dim() - 1))
