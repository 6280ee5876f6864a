"""Exports that tests share are those of equal networks, with the tensors of each."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from co3d.compiler.exporting import export_network
from support.networks import Apply

CLIP = (3, 4, 5, 5)


class Scaled(nn.Module):
    """A network with a weight, a buffer, a buffer that no file holds, and a constant."""

    def __init__(self, seed: int, by: float = 2.0, size: int = 3) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.by = by
        self.conv = nn.Conv3d(3, 3, size, padding=1)
        self.register_buffer("shift", torch.randn(3, 1, 1, 1))
        self.register_buffer("unsaved", torch.randn(3, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        # A constant, so that torch decomposes the graph.
        return (self.conv(x) + self.shift) * self.unsaved * self.by + torch.tensor([1.0])


def times(factor: float) -> Callable[[nn.Module, Tensor], Tensor]:
    return lambda _, x: x * factor


def export(model: nn.Module, frames: int = 4) -> torch.export.ExportedProgram:
    return export_network(model, [(3, frames, 5, 5)], 2).program


def is_shared(one: nn.Module, other: nn.Module) -> bool:
    return export(one).graph_module is export(other).graph_module


def test_an_equal_network_shares_the_graph_and_keeps_its_tensors() -> None:
    one, other = Scaled(0), Scaled(0)
    with torch.no_grad():
        other.conv.weight.mul_(3)
    assert is_shared(one, other)
    clip = torch.randn(2, *CLIP)
    with torch.no_grad():
        for model in (one, other, one):
            torch.testing.assert_close(export(model).module()(clip), model(clip))
        one.conv.weight.add_(1)
        torch.testing.assert_close(export(one).module()(clip), one(clip))


@pytest.mark.parametrize("other", [Scaled(1), Scaled(0, by=3.0), Scaled(0, size=1)])
def test_a_network_with_another_attribute_or_buffer_has_its_own(other: nn.Module) -> None:
    assert not is_shared(Scaled(0), other)


def test_a_network_of_other_code_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_shared(Apply(times(2)), Apply(times(2)))
    assert not is_shared(Apply(times(2)), Apply(times(3)))
    assert not is_shared(Apply(lambda _, x: F.relu(x)), Apply(lambda _, x: F.silu(x)))
    first = export(Scaled(0))
    monkeypatch.setattr(Scaled, "forward", lambda self, x: self.conv(x))
    assert export(Scaled(0)).graph_module is not first.graph_module


def test_another_clip_has_its_own() -> None:
    assert export(Scaled(0)).graph_module is not export(Scaled(0), frames=6).graph_module
