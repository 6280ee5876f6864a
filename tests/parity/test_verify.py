"""`verify` passes right programs, and names the first value that a wrong one gets wrong."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import co3d
from co3d.errors import ConversionError, OptionError, ParityError
from co3d.stream.rules import conv, global_pool
from co3d.stream.rules.registry import Use
from support.networks import Apply, Classifier, small_network, stem
from support.rule_networks import SHAPE, stem_after, two_pathways
from support.streaming import randomise_


def _recurrent() -> nn.Module:
    return Apply(
        lambda m, x: m.fc(m.gru(m.stem(x).mean((3, 4)).transpose(1, 2))[0][:, -1]),
        stem=stem(),
        gru=nn.GRU(4, 4, batch_first=True),
        fc=nn.Linear(4, 5),
    )


def _two_outputs() -> nn.Module:
    return Apply(
        lambda m, x: {"frames": m.stem(x), "clip": m.fc(m.stem(x).mean((2, 3, 4)))},
        stem=stem(),
        fc=nn.Linear(4, 5),
    )


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (small_network, {}),
        (small_network, {"scope": "window"}),
        (small_network, {"window": 3}),
        (small_network, {"precision": "float32"}),
        (two_pathways, {}),
        (two_pathways, {"rate": "native"}),
        (two_pathways, {"rate": "native", "spread": True}),
        (_recurrent, {"fallback": True}),
        (_two_outputs, {}),
    ],
)
def test_right_programs_pass(make, options: dict) -> None:
    torch.manual_seed(0)
    found = co3d.verify(randomise_(make()), SHAPE, **options)
    found.require()
    assert found.passed
    assert found.first_mismatch is None
    assert found.lengths[0] == SHAPE[1]
    assert len(found.lengths) == 3
    assert sum(value.elements for value in found.values) > 50
    assert found.output_difference <= found.tolerance


def test_every_value_is_compared() -> None:
    model = nn.Sequential(stem(), nn.ReLU(), stem_after(3))
    found = co3d.verify(model, SHAPE, lengths=[5])
    assert [value.operator for value in found.values] == [
        "conv3d.default",
        "relu.default",
        "conv3d.default",
    ]
    # One element per frame, of both clips.
    assert [value.elements for value in found.values] == [13, 13, 13]


def test_the_first_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reversed taps of the kernel of five: what comes before is right, what follows is wrong."""
    original = conv.temporal_uses

    def reverse_five(*args, **kwargs) -> list[Use]:
        uses = original(*args, **kwargs)
        return uses[::-1] if len(uses) == 5 else uses

    monkeypatch.setattr(conv, "temporal_uses", reverse_five)
    model = Apply(
        lambda m, x: m.last(F.relu(m.wrong(m.first(x)))),
        first=stem(),
        wrong=stem_after(5),
        last=stem_after(3),
    )
    found = co3d.verify(model, SHAPE)
    assert not found.passed
    assert found.first_mismatch is not None
    assert found.first_mismatch.module_path == "wrong"
    assert [v.difference > found.tolerance for v in found.values] == [False, True, True, True]
    with pytest.raises(ParityError, match=r"first at conv3d_1 \(conv3d.default in wrong\)"):
        found.require()


def test_a_short_window_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        global_pool, "Use", lambda node, back=0, fill=None: Use(node, max(back - 1, 0), fill)
    )
    found = co3d.verify(Classifier(stem()), SHAPE)
    assert found.first_mismatch is not None
    assert found.first_mismatch.operator == "mean.dim"


def test_the_model_is_left_as_it_is() -> None:
    model = small_network().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    co3d.verify(model, SHAPE)
    assert model.training
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor, before[name])


def test_lengths_that_the_network_cannot_take() -> None:
    model = Apply(
        lambda m, x: m.fc(m.gru(m.stem(x[:, :, :8]).mean((3, 4)).transpose(1, 2))[0][:, -1]),
        stem=stem(),
        gru=nn.GRU(4, 4, batch_first=True),
        fc=nn.Linear(4, 5),
    )
    with pytest.raises(ConversionError):
        co3d.verify(model, SHAPE, lengths=[6])  # no fallback
    flat = Apply(
        lambda m, x: m.fc(m.stem(x).mean((3, 4)).flatten(1)), stem=stem(), fc=nn.Linear(32, 5)
    )
    found = co3d.verify(flat, SHAPE, fallback=True)
    assert found.passed
    assert found.lengths == (8,)
    assert len(found.notes) == 2
    assert all("left out" in note for note in found.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float16"}, "expected one of float32, float64"),
        ({"lengths": [0]}, "at least 1"),
        ({"window": 0}, "at least 1"),
        ({"rate": "fast"}, "rate"),
        ({"spread": True}, "native"),
    ],
)
def test_options_out_of_range(options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        co3d.verify(small_network(), SHAPE, **options)


def test_progress_is_reported_to_its_end() -> None:
    calls: list[tuple[str, int, int]] = []
    co3d.verify(Classifier(stem()), SHAPE, lengths=[5], report=lambda *call: calls.append(call))
    last = {what: (done, total) for what, done, total in calls}
    assert set(last) == {"clip of 8 frames", "clip of 5 frames", "finished program"}
    assert all(done == total for done, total in last.values())
