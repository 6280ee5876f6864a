"""Trap: the exported graph has other operators than the network's code.

Dropout becomes a copy, and in-place operators become functional ones. And a head may have its
softmax before its last pool: a mean of probabilities is not the softmax of means.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from co3d.compiler import convert
from co3d.errors import ConversionError
from support.mutations import EXACT, Case, Subject
from support.networks import Apply, Classifier, stem
from support.rule_networks import SHAPE, stem_after


def in_place(m: nn.Module, x: Tensor) -> Tensor:
    y = m.stem(x)
    y *= 2
    y[:, :2].neg_()
    return m.after(F.dropout(F.relu(y, inplace=True), 0.5, m.training).clone().sub_(0.3))


def _make() -> nn.Module:
    return Apply(in_place, stem=stem(), after=nn.Sequential(nn.Dropout3d(), stem_after(3)))


def test_dropout_and_in_place_operators_are_removed() -> None:
    model = _make().train()
    program = convert(model, SHAPE)
    (phase,) = program.phases
    called = {str(n.target) for n in phase.steady.graph.nodes if n.op == "call_function"}
    assert not any(word in name for name in called for word in ("clone", "copy", "dropout"))
    assert Subject(Case(_make, 1)).error() <= EXACT


def test_a_network_that_writes_into_its_input_is_refused() -> None:
    model = Apply(in_place, stem=nn.Identity(), after=nn.Identity())
    with pytest.raises(ConversionError, match="writes into the clip"):
        convert(model, (4, 8, 6, 6))


@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool3d(1), nn.AvgPool3d((8, 6, 6))])
def test_probabilities_are_taken_before_the_mean(pool: nn.Module) -> None:
    def make() -> nn.Module:
        return nn.Sequential(stem(), nn.Conv3d(4, 5, 1), nn.Softmax(1), pool, nn.Flatten())

    assert Subject(Case(make, lengths=(8,))).error() <= EXACT
    assert convert(make(), SHAPE).window == 8


def test_a_converted_model_stays_in_training_mode() -> None:
    model = Classifier(stem(), nn.BatchNorm3d(4), nn.Dropout3d()).train()
    convert(model, SHAPE)
    assert all(module.training for module in model.modules())
    before = [buffer.clone() for buffer in model.buffers()]
    model(torch.randn(2, *SHAPE))
    assert not all(torch.equal(a, b) for a, b in zip(before, model.buffers(), strict=True))
