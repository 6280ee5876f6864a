"""The step program: what `convert` returns and a backend runs."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, fx

from co3d.stream.temporal import StateSpec, TemporalType

Edges = Literal["start", "both", "none"]


@dataclass(frozen=True)
class ValueTiming:
    """One row of the table that `explain` prints: a value of the network and its place in time.

    `delay` and `receptive_field` are in input frames; `state_bytes` and `macs` per stream and
    step, in the precision of the converted model.
    """

    name: str
    module_path: str
    operator: str
    stride: int
    delay: int
    receptive_field: int
    state_bytes: int
    macs: int


@dataclass(frozen=True, repr=False)
class StepProgram:
    """A network that sees one frame at a time.

    The two graphs share their weights. `steady` maps (frame, *past) to (output, *newest); `masked`
    also takes each stream's age, and hides what lies outside the clip from its consumers. `past`
    lists every state's elements, newest first; who runs the program drops the oldest of each and
    puts the returned newest in front.

    Attributes:
        name: class name of the converted model.
        frame_shape: (C, H, W) of an input frame.
        output_shape: of one stream's result.
        dtype: of weights, frames and state.
        timing: temporal type of the result.
        window: elements that the final pool averages; None when the network has none.
        edges: which clip edges it reproduces.
        states: what a stream carries, in the order of `past`.
        steady, masked: the step graphs; `masked` is None with edges="none".
        masked_steps: steps of a stream for which the masked graph is needed.
        macs_per_frame, clip_macs: multiply-accumulates of a step, and of the clip it came from.
        clip_frames: frames of that clip.
        approximations: what was rewritten because it cannot stream exactly.
        clip_graph: the clip network after those rewrites; steps + flush equal it.
        rows: the table of temporal types.
    """

    name: str
    frame_shape: tuple[int, int, int]
    output_shape: tuple[int, ...]
    dtype: torch.dtype
    timing: TemporalType
    window: int | None
    edges: Edges
    states: tuple[StateSpec, ...]
    steady: fx.GraphModule
    masked: fx.GraphModule | None
    masked_steps: int
    macs_per_frame: int
    clip_macs: int
    clip_frames: int
    approximations: tuple[str, ...]
    clip_graph: fx.GraphModule
    rows: tuple[ValueTiming, ...]

    @property
    def receptive_field(self) -> int:
        """Frames that one result depends on, the window included."""
        return self.timing.receptive_field

    @property
    def delay(self) -> int:
        """Frames between the newest frame seen and the frame that a result describes."""
        return self.timing.delay

    @property
    def temporal_stride(self) -> int:
        """Frames between results of the clip network; the program gives one at every frame."""
        return self.timing.stride

    @property
    def first_valid_step(self) -> int:
        """First step (from 0) whose window holds real frames only."""
        return self.delay + ((self.window or 1) - 1) * self.temporal_stride

    @property
    def state_bytes(self) -> int:
        """Bytes that one stream carries from step to step."""
        return sum(spec.elements for spec in self.states) * self.dtype.itemsize

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of graphs, states and weights: two programs with the same one are the same."""
        digest = hashlib.sha256()
        graphs = [g for g in (self.steady, self.masked) if g is not None]
        for graph in graphs:
            digest.update(graph.code.encode())
        digest.update(repr((self.states, self.dtype, self.edges)).encode())
        for name, tensor in self.steady.named_buffers():
            digest.update(name.encode())
            digest.update(_raw_bytes(tensor))
        return digest.hexdigest()

    def explain(self) -> str:
        """The table of temporal types, and the figures that follow from it, as plain text."""
        from co3d.stream.explain import format_program

        return format_program(self)

    def __repr__(self) -> str:
        return (
            f"StepProgram({self.name}, frame={self.frame_shape}, output={self.output_shape}, "
            f"delay={self.delay}, receptive_field={self.receptive_field}, window={self.window}, "
            f"state_bytes={self.state_bytes}, macs_per_frame={self.macs_per_frame})"
        )


def _raw_bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
