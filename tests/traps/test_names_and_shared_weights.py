"""Trap: exported files identify states by name, and a program has many graphs.

State names must be unique, and the same for inputs and outputs. If each phase's masked and steady
graphs had their own copies of the weights, these would multiply the program's size.
"""

import pytest
from torch import Tensor, fx, nn

from co3d.compiler import StepProgram, convert
from support.networks import small_network, stem
from support.rule_networks import FRAMEWISE, SHAPE, two_pathways


def _graphs(program: StepProgram) -> list[fx.GraphModule]:
    graphs = [g for phase in program.phases for g in (phase.steady, phase.masked)]
    return [graph for graph in graphs if graph is not None]


def _weight_bytes(graphs: list[fx.GraphModule]) -> int:
    """Bytes of the storages that the graphs use, each counted once."""
    storages = {}
    for graph in graphs:
        for name in {str(n.target) for n in graph.graph.nodes if n.op == "get_attr"}:
            tensor = graph.get_buffer(name)
            if tensor.is_floating_point():
                storage = tensor.untyped_storage()
                storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


@pytest.mark.parametrize("make", [small_network, two_pathways])
def test_all_graphs_share_one_copy_of_the_weights(make: object) -> None:
    program = convert(make(), SHAPE, rate="native", edges="both")  # type: ignore[operator]
    graphs = _graphs(program)
    assert len(graphs) == 2 * program.temporal_stride
    assert _weight_bytes(graphs) == _weight_bytes([program.clip_graph])


@pytest.mark.parametrize("name", ["one value, two fills", "branches of unequal delay", "gate"])
def test_state_names_are_unique_identifiers(name: str) -> None:
    program = convert(FRAMEWISE[name](), SHAPE)
    names = [spec.name for spec in program.states]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)


def test_newest_elements_are_in_the_order_of_states() -> None:
    """`newest` comes in the order of the states, one for each that a phase updates."""
    program = convert(two_pathways(), SHAPE, rate="native")
    for phase in program.phases:
        (output,) = (n for n in phase.steady.graph.nodes if n.op == "output")
        assert len(output.args[0]) == 1 + len(phase.updates)
        assert list(phase.updates) == sorted(set(phase.updates))
        past = [n.name for n in phase.steady.graph.nodes if n.op == "placeholder"][1:]
        assert past == [f"{s.name}_past{i + 1}" for s in program.states for i in range(s.depth)]


class Named(nn.Module):
    """A network whose inputs have names that step programs use for their own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = stem()

    def forward(self, end: Tensor, end_past1: Tensor) -> Tensor:
        return self.stem(end) + self.stem(end_past1)


def test_names_of_inputs_do_not_clash_with_those_of_the_step_program() -> None:
    program = convert(Named(), (SHAPE, SHAPE), edges="both")
    names = [n.name for n in _graphs(program)[1].graph.nodes if n.op == "placeholder"]
    assert len(set(names)) == len(names)
