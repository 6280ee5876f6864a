import json
from pathlib import Path

import pytest

from co3d.stream.rules import conv

NETWORK = """
import torch
from torch import nn


def build():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    )


class Mixing(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=True)

    def forward(self, x):
        x = x - x.flip(2)
        return self.gru(x.mean((3, 4)).transpose(1, 2))[0][:, -1]


class Branching(nn.Module):
    def forward(self, x):
        return x if x.mean() > 0 else -x


def number():
    return 3


def failing():
    raise RuntimeError("no data here")
"""
CLIP = ("--clip", "3,6,8,8")


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "my_network.py"
    path.write_text(NETWORK)
    return path


def test_ones_own_network_passes(co3d, network):
    outcome = co3d("check", f"{network}:build", *CLIP)
    assert outcome.code == 0
    assert "steps equal clips" in outcome.out
    assert "on clips of 6, 3, 7 frames, float64" in outcome.out


def test_json_lists_every_value(co3d, network):
    outcome = co3d("check", f"{network}:build", *CLIP, "--lengths", "5,9", "--json")
    found = json.loads(outcome.out)
    assert found["passed"] is True
    assert found["first_mismatch"] is None
    assert found["lengths"] == [6, 5, 9]
    assert [value["module_path"] for value in found["values"]] == ["0", "1", "2", "2", "3", "4"]
    assert all(value["difference"] <= found["tolerance"] for value in found["values"])


def test_weights_are_loaded_into_ones_own_network(co3d, network, tmp_path):
    foreign = tmp_path / "foreign.safetensors"
    import torch
    from safetensors.torch import save_file

    save_file({"other.weight": torch.zeros(3)}, foreign)
    outcome = co3d("check", f"{network}:build", *CLIP, "--weights", foreign)
    assert outcome.code == 21
    assert "other.weight" in outcome.err


def test_a_mismatch_has_its_own_exit_code(co3d, network, monkeypatch):
    original = conv.temporal_uses
    monkeypatch.setattr(conv, "temporal_uses", lambda *a, **k: original(*a, **k)[::-1])
    outcome = co3d("check", f"{network}:build", *CLIP)
    assert outcome.code == 33
    assert "steps equal clips" not in outcome.out
    assert "first at conv3d (conv3d.default in 0)" in outcome.err


def test_all_that_stands_in_the_way_is_in_one_report(co3d, network):
    outcome = co3d("check", f"{network}:Mixing", *CLIP)
    assert outcome.code == 30
    lines = outcome.err.splitlines()
    assert "1 operator" in lines[0]
    assert "aten.flip" in lines[1]
    assert "my_network.py" in lines[1]
    assert "fallback=True" in lines[-1]
    assert co3d("check", f"{network}:Mixing", *CLIP, "--fallback").code == 0


def test_a_branch_on_values_is_found_in_the_users_line(co3d, network):
    outcome = co3d("check", f"{network}:Branching", *CLIP)
    assert outcome.code == 30
    (line,) = outcome.err.splitlines()
    assert "data-dependent branch in the model (Branching)" in line
    assert f'File "{network}"' in line
    assert "torch.where" in line


@pytest.mark.parametrize(
    ("target", "arguments", "fragment"),
    [
        ("{path}:absent", CLIP, "it has build, Mixing, Branching, number, failing"),
        ("{path}x.py:build", CLIP, "there is no file"),
        ("{path}:number", CLIP, "returned int, expected a torch.nn.Module"),
        ("{path}:failing", CLIP, "RuntimeError: no data here"),
        ("{path}:build", (), "give --clip C,T,H,W"),
        ("{path}:build", ("--clip", "3,6,8"), "expected C,T,H,W"),
        ("{path}:build", (*CLIP, "--lengths", "5;9"), "expected numbers"),
    ],
)
def test_mistakes(co3d, network, target, arguments, fragment):
    outcome = co3d("check", target.format(path=network), *arguments)
    assert outcome.code == 2
    assert fragment in outcome.err
    assert len(outcome.err.splitlines()) == 1
