"""The step program: what `convert` returns and a backend runs."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor, fx
from torch.utils._pytree import TreeSpec, tree_unflatten

from co3d.compiler.explain import ValueTiming, format_program
from co3d.compiler.packing import list_tensors
from co3d.compiler.temporal import StateSpec, TemporalType

Edges = Literal["start", "both", "none"]
Rate = Literal["dense", "native"]
Scope = Literal["frame", "window"]
# With fewer per frame, threads of a network wait for each other longer than they compute.
SMALL_NETWORK_MACS = 100_000_000


G = TypeVar("G")


@dataclass(frozen=True)
class Phase(Generic[G]):
    """The step graphs of one tick of the period.

    `steady` maps (*frames, *past) to (*outputs, *newest); `masked` also takes each stream's age
    (and end), and replaces values outside the clip by their consumers' padding.

    Attributes:
        steady, masked: the graphs, which share their weights; no `masked` with edges="none". Where
            both are the same object, it is masked and serves all ages.
        updates: indices of the states that get a newest element, in the order of `newest`.
        is_fresh: whether this phase has a result; otherwise outputs are None.
        macs: multiply-accumulates of a step.
    """

    steady: G
    masked: G | None
    updates: tuple[int, ...]
    is_fresh: bool
    macs: int


@dataclass(frozen=True, repr=False)
class Program(Generic[G]):
    """A program for backends: step graphs, and the layout of their state.

    A stream of age n runs phase n mod len(phases); in dense rate there is one. `past` lists every
    state's elements, newest first. After a step the executor drops the oldest element of each
    state that the phase updates, and inserts the returned newest one in front.

    Attributes:
        name: class name of the converted model.
        frame_shapes: (C, H, W) of a frame of each input.
        output_shapes: of one stream's result, of each output.
        output_spec: pytree structure of the outputs: a tensor, a tuple, a dict.
        dtype: of weights, frames and state.
        timing: temporal type of the result.
        window: elements that the final pool averages; None when the network has no such pool.
        rate: "dense" gives a result at every frame, "native" at every `temporal_stride`-th.
        edges: the clip edges that it reproduces.
        states: the states of a stream, in the order of `past`.
        phases: the step graphs.
        masked_steps: steps of a stream for which the masked graph is needed.
        macs_per_frame, clip_macs: multiply-accumulates of a step (the mean over the phases), and
            of a clip in the clip network.
        graph_slots: fixed batch size of the step graphs, so that slots step in groups of it; None
            for any.
    """

    name: str
    frame_shapes: tuple[tuple[int, ...], ...]
    output_shapes: tuple[tuple[int, ...], ...]
    output_spec: TreeSpec
    dtype: torch.dtype
    timing: TemporalType
    window: int | None
    rate: Rate
    edges: Edges
    states: tuple[StateSpec, ...]
    phases: tuple[Phase[G], ...]
    masked_steps: int
    macs_per_frame: int
    clip_macs: int
    graph_slots: int | None

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """(C, H, W) of an input frame; of the first input where there are several."""
        return self.frame_shapes[0]

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one stream's result; of the first output where there are several."""
        return self.output_shapes[0]

    @property
    def receptive_field(self) -> int | None:
        """Frames that one result depends on, the window included.

        None where a recurrence (an LSTM, a cumulative sum) makes it depend on all past frames.
        """
        return self.timing.receptive_field

    @property
    def delay(self) -> int:
        """Frames between the newest frame seen and the frame that a result describes."""
        return self.timing.delay

    @property
    def temporal_stride(self) -> int:
        """Frames between results of the clip network, and of the program in native rate."""
        return self.timing.stride

    @property
    def first_valid_step(self) -> int:
        """First step (from 0) whose window holds real frames only."""
        return self.delay + ((self.window or 1) - 1) * self.temporal_stride

    @property
    def state_bytes(self) -> int:
        """Bytes that one stream carries from step to step."""
        return sum(spec.elements * spec.dtype.itemsize for spec in self.states)

    def pack_outputs(self, outputs: tuple[Tensor, ...]) -> Any:
        """The outputs in the shape in which the model returns them."""
        if self.output_spec.is_leaf():  # the common case; `tree_unflatten` is slower
            return outputs[0]
        return tree_unflatten(list(outputs), self.output_spec)

    def unpack_outputs(self, output: Any) -> list[Tensor]:
        """Flatten a result of `pack_outputs` to a list of tensors."""
        return list_tensors(output)

    @cached_property
    def fingerprint(self) -> str:
        """Identifies the program: equal fingerprints mean equal results and equal states."""
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class StepProgram(Program[fx.GraphModule]):
    """A network that sees one frame at a time, converted in this process.

    Attributes:
        recomputed_macs: those of `macs_per_frame` that a fallback spends on past frames again.
        clip_frames: frames of a clip.
        approximations: rewrites of operators that cannot stream exactly.
        fallbacks: operators without a step form, rerun on the newest clip at every step.
        clip_graph: the clip network after those rewrites; steps + flush equal it.
        rows: the table of temporal types.
    """

    recomputed_macs: int
    clip_frames: int
    approximations: tuple[str, ...]
    fallbacks: tuple[str, ...]
    clip_graph: fx.GraphModule
    rows: tuple[ValueTiming, ...]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of graphs, states and weights."""
        digest = hashlib.sha256()
        digest.update(repr((self.states, self.dtype, self.edges, self.rate)).encode())
        seen: set[int] = set()
        for phase in self.phases:
            for graph in (phase.steady, phase.masked):
                if graph is not None:
                    digest.update(graph.code.encode())
            for name, tensor in phase.steady.named_buffers():
                digest.update(name.encode())
                if id(tensor) not in seen:
                    digest.update(raw_bytes(tensor))
                seen.add(id(tensor))
        return digest.hexdigest()

    def explain(self) -> str:
        """The table of temporal types, the figures, and the sources of delay and state, as text."""
        return format_program(self)

    def __repr__(self) -> str:
        return (
            f"StepProgram({self.name}, frame={self.frame_shape}, output={self.output_shape}, "
            f"delay={self.delay}, receptive_field={self.receptive_field}, window={self.window}, "
            f"state_bytes={self.state_bytes}, macs_per_frame={self.macs_per_frame})"
        )


def raw_bytes(tensor: Tensor) -> bytes:
    """The bytes of a tensor's numbers in row-major order."""
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
