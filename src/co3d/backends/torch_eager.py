"""The reference backend: the step graphs as PyTorch runs them, operator by operator."""

import torch
from torch import Tensor, fx

from co3d.backends.clock import SlotClock
from co3d.backends.snapshot import Snapshot
from co3d.errors import StreamError
from co3d.stream.program import StepProgram


class TorchRunner:
    """Runs a step program eagerly; state rotates by moving references.

    When all slots are active and in the same phase nothing is copied: each state drops its oldest
    element and takes the step's newest one in front. Otherwise each phase runs for all rows, and
    the rows that it does not concern are kept by selection. Maps lie in memory with channels last,
    as the program's weights do.
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
        place = _Placement(dtype, device)
        self._graphs = [
            (place(phase.steady), None if phase.masked is None else place(phase.masked))
            for phase in program.phases
        ]
        self._past = [
            [self._empty((slots, *spec.shape), spec.dtype).fill_(spec.fill)] * spec.depth
            for spec in program.states
        ]

    def step(
        self, frames: tuple[Tensor, ...], active: Tensor, reset: Tensor
    ) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """See `Runner.step`."""
        # The caller may reuse its buffers, and the program may remember a frame: take copies.
        taken = [self._empty(f.shape, self.program.dtype).copy_(f) for f in frames]
        if reset.any():
            self.reset(reset)
        outputs: tuple[Tensor, ...] | None = None
        phases = self.clock.phases
        with torch.inference_mode():
            for phase in phases[active].unique().tolist():
                rows = active & (phases == phase)
                made = self._run_phase(phase, taken, rows)
                if made is not None:
                    outputs = made if outputs is None else _add_rows(outputs, made)
        if outputs is None:
            outputs = tuple(
                torch.zeros((self.slots, *shape), dtype=self._dtype, device=self._device)
                for shape in self.program.output_shapes
            )
        valid, fresh = self.clock.valid(active), self.clock.fresh(active)
        self.clock.advance(active)
        return outputs, valid, fresh

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

    def _run_phase(
        self, phase: int, frames: list[Tensor], rows: Tensor
    ) -> tuple[Tensor, ...] | None:
        """Step the rows of a phase; its outputs, zero elsewhere, or None where it has none."""
        steady, masked = self._graphs[phase]
        past = [element for elements in self._past for element in elements]
        if masked is not None and self.clock.needs_masks(rows):
            clocks = [self.clock.ages.to(self._device)]
            if self.program.edges == "both":
                clocks.append(self.clock.ends.to(self._device))
            results = masked(*frames, *clocks, *past)
        else:
            results = steady(*frames, *past)
        count = len(self.program.output_shapes)
        outputs, newest = results[:count], results[count:]
        here = None if rows.all() else rows.to(self._device)
        for i, element in zip(self.program.phases[phase].updates, newest, strict=True):
            shifted = [element, *self._past[i][:-1]]
            if here is not None:
                shifted = [
                    torch.where(_expand(here, old), new, old)
                    for new, old in zip(shifted, self._past[i], strict=True)
                ]
            self._past[i] = shifted
        if not self.program.phases[phase].is_fresh:
            return None
        if here is None:
            return outputs
        return tuple(torch.where(_expand(here, o), o, torch.zeros_like(o)) for o in outputs)

    def _empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
        dtype = self._dtype if dtype.is_floating_point else dtype
        return torch.empty(shape, dtype=dtype, device=self._device, memory_format=layout)


class _Placement:
    """Puts graphs in a precision on a device; weights that they share stay shared."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self._dtype, self._device = dtype, device
        self._placed: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(self, graph: fx.GraphModule) -> fx.GraphModule:
        tensors = dict(graph.named_buffers())
        if all(self._fits(tensor) for tensor in tensors.values()):
            return graph
        return fx.GraphModule({name: self._place(t) for name, t in tensors.items()}, graph.graph)

    def _fits(self, tensor: Tensor) -> bool:
        wanted = self._dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.dtype == wanted and tensor.device == self._device

    def _place(self, tensor: Tensor) -> Tensor:
        if id(tensor) not in self._placed:
            dtype = self._dtype if tensor.is_floating_point() else tensor.dtype
            # The tensor is kept, so that its id is not reused.
            self._placed[id(tensor)] = (tensor, tensor.to(self._device, dtype))
        return self._placed[id(tensor)][1]


def _add_rows(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Outputs of two phases: each is zero in the rows of the other."""
    return tuple(a + b for a, b in zip(first, second, strict=True))


def _expand(rows: Tensor, like: Tensor) -> Tensor:
    return rows.view(-1, *[1] * (like.dim() - 1))
