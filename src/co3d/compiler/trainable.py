"""Step programs that are differentiable in their weights, to train a network frame by frame.

In the step graphs of `convert` the weights are constants. Here they are inputs, computed from the
network's parameters at every call, so that a loss on a stream's results has gradients.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from co3d.compiler.assemble import assemble
from co3d.compiler.capture import capture
from co3d.compiler.options import ConvertOptions, check_clip_shapes
from co3d.compiler.past import Past, push_newest, start_past
from co3d.compiler.pipeline import prepare_captured
from co3d.compiler.program import Edges, Phase, Scope, StepProgram
from co3d.compiler.tape import WeightProgram, WeightTape
from co3d.errors import ConversionError


@dataclass(frozen=True)
class TrainableState:
    """The state of a batch of streams of the same age.

    Attributes:
        age: frames seen.
        past: elements of every state, newest first, each (N, …).
    """

    age: int
    past: Past

    def detach(self) -> "TrainableState":
        """The same values, detached from the autograd graph."""
        return replace(self, past=tuple(tuple(e.detach() for e in past) for past in self.past))


@dataclass(frozen=True, eq=False)
class _TrainableGraph:
    """A graph that takes its constants as inputs: indices of derived ones, or fixed tensors."""

    graph: fx.GraphModule
    constants: tuple[int | Tensor, ...]

    def __call__(self, inputs: Sequence[Tensor], weights: Sequence[Tensor]) -> Any:
        device = inputs[0].device
        constants = [
            weights[c] if isinstance(c, int) else c.to(device, non_blocking=True)
            for c in self.constants
        ]
        return self.graph(*inputs, *constants)


@dataclass(frozen=True, eq=False)
class TrainableProgram:
    """A step program as a differentiable function of frames, state and weights.

    Dropout is off, and batch norms use their running statistics.

    Attributes:
        program: its timing, states and approximations; with the weights at conversion.
    """

    program: StepProgram
    _derive: WeightProgram
    _phases: tuple[Phase[_TrainableGraph], ...]
    _clip: _TrainableGraph

    def __deepcopy__(self, _memo: dict[int, Any]) -> "TrainableProgram":
        return self  # nothing in it ever changes

    def derive(self, model: nn.Module) -> list[Tensor]:
        """Compute the constants of the graphs from the network's current weights."""
        return self._derive(model.state_dict(keep_vars=True))

    def start(self, streams: int, like: Tensor) -> TrainableState:
        """The state of new streams, with the dtype and device of a tensor."""
        return TrainableState(0, start_past(self.program.states, streams, like.dtype, like.device))

    def run(
        self,
        frames: Tensor,
        weights: Sequence[Tensor],
        state: TrainableState | None = None,
        *,
        last_frame: int | None = None,
    ) -> tuple[Tensor, TrainableState]:
        """Step through the frames of a chunk.

        Args:
            frames: (N, C, T, H, W), the next T frames of N streams.
            weights: from `derive`.
            state: returned for the chunk before; None starts new streams.
            last_frame: index of the streams' last frame, with edges="both"; frames after it flush
                the streams.

        Returns:
            (N, T, …): the result of each step, which describes the frame `program.delay` before
            it; and the state after the chunk.
        """
        state = self.start(len(frames), frames) if state is None else state
        outputs = []
        for frame in frames.unbind(2):
            output, state = self._step(frame, weights, state, last_frame)
            outputs.append(output)
        return torch.stack(outputs, 1), state

    def run_clip(self, clips: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Run the rewritten clip network, which the steps reproduce, on (N, C, T, H, W)."""
        return self._clip([clips], weights)

    def _step(
        self,
        frame: Tensor,
        weights: Sequence[Tensor],
        state: TrainableState,
        last_frame: int | None,
    ) -> tuple[Tensor, TrainableState]:
        program = self.program
        inputs = [frame]
        phase = self._phases[state.age % len(self._phases)]
        graph = phase.steady
        ends = last_frame is not None and state.age > last_frame
        if phase.masked is not None and (state.age < program.masked_steps or ends):
            graph = phase.masked
            ages = torch.full((len(frame),), state.age, device=frame.device)
            inputs.append(ages)
            if program.edges == "both":
                never = torch.iinfo(torch.int64).max // 2
                inputs.append(torch.full_like(ages, never if last_frame is None else last_frame))
        output, *newest = graph([*inputs, *(e for past in state.past for e in past)], weights)
        past = push_newest(state.past, phase.updates, newest)
        return output, TrainableState(state.age + 1, past)


def convert_trainable(
    model: nn.Module,
    clip_shape: Sequence[int],
    *,
    window: int | None = None,
    scope: Scope = "frame",
    edges: Edges = "start",
) -> TrainableProgram:
    """Convert a network so that it can be trained through its steps; options as for `convert`.

    Raises:
        ConversionError: as `convert`, or the network has several inputs or outputs, or its
            conversion depends on the values of its weights.
        OptionError: an option outside its range.
    """
    shapes = check_clip_shapes(clip_shape)
    options = ConvertOptions(window=window, scope=scope, edges=edges)
    name = type(model).__name__
    captured = capture(model, shapes)
    roots = {
        key: captured.clip_graph.get_buffer(attribute)
        for attribute, key in captured.weights.items()
    }
    with WeightTape(roots) as tape:
        program = assemble(prepare_captured(captured, name, shapes, options))
    if len(program.frame_shapes) != 1 or len(program.output_shapes) != 1:
        raise ConversionError(
            f"cannot train {name} through its steps: got {len(program.frame_shapes)} inputs and "
            f"{len(program.output_shapes)} outputs, expected one of each; train in clip form"
        )
    numbers: dict[int, int] = {}  # number on the tape -> index among the derived constants

    def take(graph: fx.GraphModule) -> _TrainableGraph:
        return _take_constants(graph, tape, numbers)

    phases = tuple(
        Phase(
            steady=take(phase.steady),
            masked=None if phase.masked is None else take(phase.masked),
            updates=phase.updates,
            is_fresh=phase.is_fresh,
            macs=phase.macs,
        )
        for phase in program.phases
    )
    clip = take(program.clip_graph)
    return TrainableProgram(program, tape.cut(list(numbers)), phases, clip)


def _take_constants(
    graph: fx.GraphModule, tape: WeightTape, numbers: dict[int, int]
) -> _TrainableGraph:
    """Turn the constants of a graph into additional inputs."""
    made = fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    constants: dict[str, fx.Node] = {}
    taken: list[int | Tensor] = []
    inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
    for node in inputs:
        copied[node] = made.node_copy(node)
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            name = str(node.target)
            if name not in constants:
                tensor = graph.get_buffer(name)
                slot = tape.find(tensor)
                constants[name] = made.placeholder(f"constant_{len(taken)}")
                taken.append(tensor if slot is None else numbers.setdefault(slot, len(numbers)))
            copied[node] = constants[name]
        elif node.op != "placeholder":
            copied[node] = made.node_copy(node, copied.__getitem__)
    made.lint()
    return _TrainableGraph(fx.GraphModule(nn.Module(), made), tuple(taken))
