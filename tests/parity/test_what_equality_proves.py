"""Verification reports equal results that prove nothing, and converts casts to double precision."""

from importlib import import_module

import pytest
import torch
from torch import Tensor, nn

import co3d
from co3d.compiler import convert
from co3d.errors import ParityError
from support.networks import Apply, stem

SHAPE = (3, 8, 6, 6)


class Remembering(nn.Module):
    """Scales by the mean of the previous clip, which it keeps in a buffer, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 3, padding=1)
        self.register_buffer("last", torch.full((1, 4, 1, 1, 1), 0.5))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x) * self.last
        self.last.copy_(y[:1].mean((2, 3, 4), keepdim=True))
        self.calls += 1
        return y.mean((2, 3, 4))


def test_outputs_that_ignore_the_clip_do_not_pass() -> None:
    found = co3d.verify(Apply(lambda m, x: m.stem(x).mean((2, 3, 4)) * 0, stem=stem()), SHAPE)
    assert found.output_difference == 0
    assert not found.passed
    with pytest.raises(ParityError, match="proves nothing"):
        found.require()


def test_steps_that_ignore_the_clip_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Like a rewrite that turns x - mean(x) into x - x."""
    gated = Apply(lambda m, x: m.stem(x) * m.stem(x).mean((2, 3, 4), keepdim=True), stem=stem())
    found = co3d.verify(gated, SHAPE)
    assert found.program.approximations
    assert found.passed
    module = import_module("co3d.parity.verify")
    monkeypatch.setattr(module, "compare_two_streams", lambda *_: [0.0])
    found = co3d.verify(gated, SHAPE)
    assert not found.passed
    with pytest.raises(ParityError, match="ignores the clip"):
        found.require()


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m.stem(x.float() / 255).mean((2, 3, 4)),
        lambda m, x: m.stem(x.to(torch.float32)).mean((2, 3, 4)),
        lambda m, x: m.stem(x).mean((2, 3, 4)).float(),
        lambda m, x: (m.stem(x) * torch.ones(4, 1, 1, 1)).mean((2, 3, 4), dtype=torch.float32),
    ],
)
def test_casts_are_converted_to_double(forward: object) -> None:
    torch.manual_seed(0)
    model = Apply(forward, stem=stem())
    for precision in ("float32", "float64"):
        found = co3d.verify(model, SHAPE, precision=precision)
        found.require()
        lifted = any("single precision" in note for note in found.notes)
        assert lifted == (precision == "float64")
        assert found.output_difference is not None
        assert found.output_difference < (1e-12 if lifted else 1e-5)
    assert not vars(model).get("forward")


def test_buffers_that_forward_changes_stay_constant() -> None:
    torch.manual_seed(0)
    model = Remembering()
    found = co3d.verify(model, SHAPE)
    found.require()
    assert [line.split(":")[0] for line in found.program.approximations] == ["last"]
    assert float(model.calls) == 0
    convert(model, SHAPE)
    assert float(model.calls) == 0
    assert torch.equal(model.last, torch.full((1, 4, 1, 1, 1), 0.5))
