"""`verify` passes right programs, and names the first wrong value of wrong ones."""

import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

import co3d
from co3d.compiler.emit import StepBuilder
from co3d.compiler.rules.registry import _RULES, Context, Lowering
from co3d.errors import ConversionError, OptionError, ParityError
from support.networks import Apply, Classifier, Residual, SqueezeExcite, stem
from support.rule_networks import SHAPE, stem_after, two_pathways
from support.streaming import randomise_

ATEN = torch.ops.aten


class PictureAndFlow(nn.Module):
    """A network of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = stem(2)

    def forward(self, picture: Tensor, flow: Tensor) -> Tensor:
        return (self.stem(picture) * flow).mean((2, 3, 4))


def plain() -> nn.Module:
    return Classifier(stem(), nn.BatchNorm3d(4), Residual())


def gated() -> nn.Module:
    return Classifier(stem(), nn.BatchNorm3d(4), SqueezeExcite())


def recurrent() -> nn.Module:
    return Apply(
        lambda m, x: m.fc(m.gru(m.stem(x).mean((3, 4)).transpose(1, 2))[0][:, -1]),
        stem=stem(),
        gru=nn.GRU(4, 2, batch_first=True, bidirectional=True),
        fc=nn.Linear(4, 5),
    )


def two_outputs() -> nn.Module:
    return Apply(
        lambda m, x: {"frames": m.stem(x), "clip": m.fc(m.stem(x).mean((2, 3, 4)))},
        stem=stem(),
        fc=nn.Linear(4, 5),
    )


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (gated, {}),
        (gated, {"scope": "window", "lengths": [5]}),
        (plain, {"window": 3}),
        (plain, {"window": 20, "lengths": [11]}),
        (plain, {"precision": "float32", "lengths": [5]}),
        (two_pathways, {}),
        (two_pathways, {"rate": "native", "lengths": [12]}),
        (two_pathways, {"rate": "native", "spread": True, "lengths": [4]}),
        (recurrent, {"fallback": True}),
        (two_outputs, {"lengths": [5]}),
        (lambda: Apply(lambda m, x: x.mean((2, 3, 4)) + 1), {"lengths": [11]}),
    ],
)
def test_right_programs_pass(make: Callable[[], nn.Module], options: dict) -> None:
    torch.manual_seed(0)
    found = co3d.verify(randomise_(make()), SHAPE, **options)
    found.require()
    assert found.passed
    assert found.first_mismatch is None
    assert len(found.lengths) == (2 if "lengths" in options else 3)
    assert found.lengths[0] == SHAPE[1]
    assert found.notes == ()
    assert sum(value.elements for value in found.values) >= 20
    assert found.output_difference is not None


def test_every_value_is_compared() -> None:
    model = nn.Sequential(stem(), nn.ReLU(), stem_after(3))
    found = co3d.verify(model, SHAPE, lengths=[5, 8])
    assert found.lengths == (8, 5)
    assert [value.operator for value in found.values] == [
        "conv3d.default",
        "relu.default",
        "conv3d.default",
    ]
    # One element per frame, of both clips.
    assert [value.elements for value in found.values] == [13, 13, 13]


def test_several_inputs_are_verified() -> None:
    found = co3d.verify(PictureAndFlow(), [SHAPE, (2, 8, 6, 6)], lengths=[5])
    assert found.passed
    assert found.lengths == (8, 5)


# A rule that errs at one node: that node, and none before it, is named.

Change = Callable[[Lowering], Lowering]


def _older(index: int, ticks: int) -> Change:
    def change(lowering: Lowering) -> Lowering:
        uses = list(lowering.uses)
        uses[index] = replace(uses[index], back=uses[index].back + ticks)
        return replace(lowering, uses=uses)

    return change


def _reversed(lowering: Lowering) -> Lowering:
    return replace(lowering, uses=lowering.uses[::-1])


def _filled(value: float | None) -> Change:
    return lambda lowering: replace(
        lowering, uses=[replace(use, fill=value) for use in lowering.uses]
    )


def _chain(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(stem(), *layers, nn.ReLU(), stem_after(3))


MISTAKES: dict[str, tuple[Callable[[], nn.Module], object, str, Change, dict]] = {
    "taps in reverse order": (
        lambda: _chain(nn.Tanh(), stem_after(3)),
        ATEN.conv3d.default,
        "2",
        _reversed,
        {},
    ),
    "a tap too old": (
        lambda: _chain(nn.Tanh(), stem_after(5)),
        ATEN.conv3d.default,
        "2",
        _older(0, 1),
        {},
    ),
    "a tap too old, native": (
        lambda: _chain(nn.Conv3d(4, 4, 3, (2, 1, 1), 1), stem_after(3)),
        ATEN.conv3d.default,
        "2",
        _older(0, 2),
        {"rate": "native"},
    ),
    "padding of a maximum": (
        lambda: _chain(nn.MaxPool3d((3, 1, 1), 1, (1, 0, 0))),
        ATEN.max_pool3d.default,
        "1",
        _filled(0.0),
        {},
    ),
    "padding of a convolution": (
        lambda: _chain(stem_after(3)),
        ATEN.conv3d.default,
        "1",
        _filled(1.0),
        {},
    ),
    "a shortcut that does not wait": (
        lambda: _chain(Residual()),
        ATEN.add.Tensor,
        "1",
        _older(0, -1),
        {},
    ),
    "a window too long": (
        lambda: Classifier(stem(), stem_after(3)),
        ATEN.mean.dim,
        "",
        _older(0, 1),
        {"lengths": [12]},
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_the_first_wrong_value_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, target, path, change, options = MISTAKES[name]
    original = _RULES[target]
    wrong: list[str] = []

    def err(ctx: Context, node: fx.Node) -> Lowering:
        right = original(ctx, node)
        here = node.target is target and node.meta["origin"].module_path == path
        # The part over time of a pool over space and time.
        if not here or (target is ATEN.mean.dim and len(right.uses) == 1):
            return right
        wrong.append(node.name)
        return change(right)

    monkeypatch.setitem(_RULES, target, err)
    torch.manual_seed(0)
    found = co3d.verify(randomise_(make()), SHAPE, **{"lengths": [], **options})
    assert not found.passed
    assert found.first_mismatch is not None
    assert found.first_mismatch.name == wrong[0]
    with pytest.raises(ParityError, match=rf"first at {wrong[0]} \(.*this is an error of co3d"):
        found.require()


def test_unmasked_elements_outside_the_clip_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StepBuilder, "_newest", lambda self, node, fill: self._current[node])
    found = co3d.verify(nn.Sequential(stem(), nn.ReLU(), stem_after(3)), SHAPE, lengths=[5])
    assert found.first_mismatch is not None
    # The frames after the clip's end are the first thing that must be hidden.
    assert found.first_mismatch.name == "conv3d"


def test_graphs_for_live_streams_are_checked_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    original = StepBuilder._is_real

    def err(self: StepBuilder, delay: int, extent: int) -> fx.Node:
        return original(self, delay + (not self.with_end), extent)

    monkeypatch.setattr(StepBuilder, "_is_real", err)
    found = co3d.verify(nn.Sequential(stem(), stem_after(3)), SHAPE, lengths=[])
    assert found.first_mismatch is None
    with pytest.raises(ParityError, match="differ from its clips: the graphs for other edges"):
        found.require()


def test_steady_graphs_are_checked_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    original = StepBuilder.build

    def err(self: StepBuilder, *args, **kwargs) -> fx.GraphModule:
        graph = original(self, *args, **kwargs)
        if not self.masked:
            graph.register_buffer("constant0", graph.get_buffer("constant0") * 1.01)
        return graph

    monkeypatch.setattr(StepBuilder, "build", err)
    found = co3d.verify(nn.Sequential(stem(), stem_after(3)), SHAPE, lengths=[])
    assert found.first_mismatch is None
    assert found.edges_difference > 1e-5
    assert not found.passed


@pytest.mark.parametrize("make", [plain, gated])
def test_a_wrong_pass_is_caught_despite_approximations(
    make: Callable[[], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrongly folded batch norm: steps equal the folded network, which differs from the model."""
    folding = sys.modules["co3d.compiler.passes.fold_batch_norm"]
    original = folding._scale_and_shift
    monkeypatch.setattr(
        folding, "_scale_and_shift", lambda *a: tuple(1.01 * t for t in original(*a))
    )
    found = co3d.verify(randomise_(make()), SHAPE, lengths=[])
    assert found.first_mismatch is None
    assert found.simplified_difference > 1e-4
    with pytest.raises(ParityError, match="the simplified clip network from the model"):
        found.require()


def test_approximations_are_measured_and_not_failures() -> None:
    torch.manual_seed(0)
    found = co3d.verify(randomise_(gated()), SHAPE, lengths=[])
    assert found.passed
    assert len(found.program.approximations) == 1
    assert found.simplified_difference <= found.tolerance < found.model_difference


def test_rounding_is_distinguished_from_errors() -> None:
    found = co3d.verify(plain(), SHAPE, lengths=[], precision="float32")
    found = replace(found, output_difference=3e-5)
    with pytest.raises(ParityError, match="check in float64 whether that is rounding"):
        found.require()


# What equality does not prove is said.


def test_values_that_are_zero_are_reported() -> None:
    block = Residual()
    nn.init.zeros_(block.norm.weight)
    found = co3d.verify(Classifier(stem(), block), SHAPE, lengths=[])
    assert found.passed
    (note,) = found.notes
    assert note.startswith("1 value zero on all of these clips")
    assert note.endswith("(trunk.1.conv)")


def test_values_that_are_nan_are_reported() -> None:
    model = Apply(lambda m, x: m.stem(x).log().relu().mean((2, 3, 4)), stem=stem())
    found = co3d.verify(model, SHAPE, lengths=[])
    assert found.passed
    assert any("NaN somewhere on these clips" in note and "log" in note for note in found.notes)


def test_heads_are_not_compared_on_clips_longer_than_the_window() -> None:
    found = co3d.verify(plain(), SHAPE, window=3, lengths=[9])
    assert found.passed
    assert found.output_difference is None
    (note,) = found.notes
    assert "3 values not compared, as all of these clips are longer than the window" in note
    head = {value.name for value in found.values}
    assert "linear" in note
    assert "linear" not in head
    with pytest.raises(OptionError, match="add a length of at most 3"):
        co3d.verify(Apply(lambda m, x: x.mean(2)), SHAPE, window=3, lengths=[9])


def test_lengths_that_the_network_cannot_take_are_skipped() -> None:
    with pytest.raises(ConversionError):
        co3d.verify(recurrent(), SHAPE, lengths=[6])  # no fallback
    flat = Apply(
        lambda m, x: m.fc(m.stem(x).mean((3, 4)).flatten(1)), stem=stem(), fc=nn.Linear(32, 5)
    )
    found = co3d.verify(flat, SHAPE, fallback=True)
    assert found.passed
    assert found.lengths == (8,)
    assert [note.split(" left out")[0] for note in found.notes] == [
        "clips of 3 frames",
        "clips of 11 frames",
    ]
    assert not any("check that" in note for note in found.notes)
    with pytest.raises(ConversionError, match="cannot capture"):
        co3d.verify(flat, SHAPE, fallback=True, lengths=[5])


def test_lengths_with_other_operators_are_skipped_or_refused() -> None:
    model = Apply(lambda m, x: m.stem(x) if x.shape[2] == 8 else F.relu(m.stem(x)), stem=stem())
    assert "other operators run on them" in co3d.verify(model, SHAPE).notes[0]
    with pytest.raises(ConversionError, match="the network runs other operators"):
        co3d.verify(model, SHAPE, lengths=[5])


# The model, the options, the report.


def test_the_model_is_not_changed() -> None:
    model = plain().train()
    threads = torch.get_num_threads()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    co3d.verify(model, SHAPE, lengths=[])
    assert model.training
    assert torch.get_num_threads() == threads
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor, before[name])


def test_a_model_that_cannot_be_copied_is_an_error() -> None:
    model = stem()
    model.computed = model.weight * 2
    with pytest.raises(ConversionError, match="cannot verify Conv3d: it cannot be copied"):
        co3d.verify(model, SHAPE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float16"}, "expected one of float32, float64"),
        ({"lengths": [0]}, "at least 1"),
        ({"window": 0}, "at least 1"),
        ({"rate": "fast"}, "rate"),
        ({"scope": "clip"}, "scope"),
        ({"spread": True}, "native"),
    ],
)
def test_options_out_of_range_are_refused(options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        co3d.verify(plain(), SHAPE, **options)


def test_a_clip_shape_without_four_sizes_is_refused() -> None:
    with pytest.raises(OptionError, match="expected four positive sizes"):
        co3d.verify(plain(), (3, 8, 6))


def test_progress_is_reported_to_its_end() -> None:
    calls: list[tuple[str, int, int]] = []
    co3d.verify(Classifier(stem()), SHAPE, lengths=[5], report=lambda *call: calls.append(call))
    last = {what: (done, total) for what, done, total in calls}
    assert set(last) == {"clip of 8 frames", "clip of 5 frames", "finished program"}
    assert all(done == total for done, total in last.values())
