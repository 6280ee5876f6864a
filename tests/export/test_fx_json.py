import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import co3d
from co3d.errors import ExportedFileError, ExportError
from co3d.export.fx_json import read_graph, write_graph
from support import rule_networks
from support.networks import stem

NETWORKS = rule_networks.list_all()


def _write(graph: torch.fx.GraphModule) -> tuple[list, dict[str, torch.Tensor]]:
    names: dict[int, str] = {}
    tensors: dict[str, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> str:
        name = names.setdefault(id(tensor), f"c{len(names)}")
        tensors[name] = tensor
        return name

    return json.loads(json.dumps(write_graph(graph, keep))), tensors


def _round_trip(name: str) -> None:
    program = co3d.convert(NETWORKS[name]().eval(), rule_networks.SHAPE, edges="both")
    for graph in (program.phases[0].steady, program.phases[0].masked):
        rows, tensors = _write(graph)
        again = read_graph(rows, tensors)
        targets = [
            [n.target for n in g.graph.nodes if n.op == "call_function"] for g in (graph, again)
        ]
        assert targets[0] == targets[1]
        rows_again, tensors_again = _write(again)
        assert rows_again == rows
        assert all(torch.equal(tensors_again[key], tensors[key]) for key in tensors)


@pytest.mark.parametrize("name", sorted(NETWORKS)[::6])
def test_graphs_are_read_back_unchanged(name):
    _round_trip(name)


# Said once, by PyTorch's convolution itself.
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_graphs_of_every_rule_are_read_back_unchanged(name):
    _round_trip(name)


ATTACKS = [
    ["call_function", "torch.load", {"tuple": ["x"]}, {"mapping": {}}],
    ["call_function", "aten.from_file", {"tuple": ["/etc/passwd"]}, {"mapping": {}}],
    ["call_function", "aten.from_file.default", {"tuple": ["/etc/passwd"]}, {"mapping": {}}],
    ["call_function", "aten.add_.Tensor", {"tuple": [{"node": 0}, 1]}, {"mapping": {}}],
    ["call_function", "operator.attrgetter", {"tuple": ["x"]}, {"mapping": {}}],
    ["call_function", "aten.__class__", {"tuple": []}, {"mapping": {}}],
    ["call_method", "__reduce__", {"tuple": [{"node": 0}]}, {"mapping": {}}],
    ["call_module", "os", {"tuple": []}, {"mapping": {}}],
    ["placeholder", "x); import os; (", {"tuple": []}, {"mapping": {}}],
    ["get_attr", "__class__.__init__", {"tuple": []}, {"mapping": {}}],
    ["call_function", "torch.add", {"tuple": [{"node": 99}, 1]}, {"mapping": {}}],
    ["call_function", "torch.add", {"tuple": [{"dtype": "load"}, 1]}, {"mapping": {}}],
    ["call_function", "torch.add", {"tuple": []}, {"mapping": {"x=1); import os; f(": 1}}],
]


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_hostile_graphs_are_refused(tmp_path, attack):
    program = co3d.convert(stem(), rule_networks.SHAPE)
    path = tmp_path / "network.safetensors"
    co3d.export_program(program, path, format="torch")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    phases = json.loads(metadata["co3d.phases"])
    phases[0]["steady"].insert(1, attack)
    save_file(tensors, path, {**metadata, "co3d.phases": json.dumps(phases)})
    with pytest.raises(ExportedFileError):
        co3d.load_program(path)


def test_unknown_functions_of_rules_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("co3d.export.fx_json._NAMES", {})
    program = co3d.convert(stem(), rule_networks.SHAPE)
    with pytest.raises(ExportError, match="built-in"):
        co3d.export_program(program, tmp_path / "a.safetensors", format="torch")
    assert list(tmp_path.iterdir()) == []
