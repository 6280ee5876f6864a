"""The tape replays what was computed from weights, and nothing else."""

import pytest
import torch

from co3d.compiler.tape import WeightTape
from co3d.errors import ConversionError


def test_recorded_operators_are_replayed_with_other_weights():
    weight, bias, other = torch.randn(2, 3), torch.randn(3), torch.randn(3)
    with WeightTape({"weight": weight, "bias": bias, "unused": other}) as tape:
        first, second = (weight.double() * 2).unbind(0)
        constant = torch.arange(3)
        result = torch.cat((first + constant, second * bias))[1:].view(-1, 1)
        aside = bias.exp()
    program = tape.cut([tape.find(result)])
    assert tape.find(constant) is None
    assert tape.find(aside) is not None
    assert set(program.roots) == {"weight", "bias"}
    (again,) = program({"weight": weight, "bias": bias})
    assert torch.equal(again, result)
    fresh = torch.randn(2, 3, requires_grad=True)
    (made,) = program({"weight": fresh, "bias": bias})
    expected = torch.cat((fresh[0].double() * 2 + constant, fresh[1].double() * 2 * bias))[1:]
    assert torch.equal(made, expected.view(-1, 1))
    made.sum().backward()
    torch.testing.assert_close(fresh.grad, torch.stack((torch.tensor([0.0, 2, 2]), 2 * bias)))


@pytest.mark.parametrize("read", [bool, float, torch.Tensor.tolist, torch.Tensor.item])
def test_reading_the_value_of_a_weight_is_refused(read):
    weight = torch.tensor(1.0)
    with WeightTape({"weight": weight}), pytest.raises(ConversionError, match="value of a weight"):
        read(weight * 2)
    assert read(weight)


def test_an_unchanged_weight_is_passed_through():
    weight = torch.randn(3)
    with WeightTape({"weight": weight}) as tape:
        same = weight.float()
    (made,) = tape.cut([tape.find(same)])({"weight": weight})
    assert made is weight
