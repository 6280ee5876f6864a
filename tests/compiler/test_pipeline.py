"""The pipeline that all conversions share: options, passes, and their errors."""

from collections.abc import Callable

import pytest
import torch
from torch import fx, nn

import co3d
from co3d.compiler import options as options_module
from co3d.compiler import pipeline
from co3d.compiler import run_pass as run_pass_module
from co3d.compiler.capture import capture
from co3d.compiler.insertion import insert, insert_constant, propagate_shapes, visit_readers
from co3d.compiler.options import ConvertOptions
from co3d.compiler.passes.result import PassResult
from co3d.compiler.run_pass import run_pass
from co3d.compiler.trainable import convert_trainable
from co3d.errors import ConversionError, InternalError, OptionError
from co3d.parity.features import convert_with_features
from support.rule_networks import FRAMEWISE, SHAPE

CONVERSIONS: dict[str, Callable[..., object]] = {
    "convert": co3d.convert,
    "verify": co3d.verify,
    "features": convert_with_features,
    "training": convert_trainable,
}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv3d(3, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU()).eval()


def captured() -> fx.GraphModule:
    return capture(network(), [SHAPE]).clip_graph


def fail(_clip_graph: fx.GraphModule) -> PassResult:
    raise KeyError("no such node")


def break_graph(clip_graph: fx.GraphModule) -> PassResult:
    """Let the first operator read a later one."""
    first, *_, last = (n for n in clip_graph.graph.nodes if n.op == "call_function")
    first.args = (last, *first.args[1:])
    return PassResult(changed=True)


def forget_shape(clip_graph: fx.GraphModule) -> PassResult:
    *_, last = (n for n in clip_graph.graph.nodes if n.op == "call_function")
    del last.meta["val"]
    return PassResult(changed=True)


@pytest.mark.parametrize("conversion", CONVERSIONS)
@pytest.mark.parametrize(
    ("change", "reason"),
    [(fail, "no such node"), (break_graph, "topological"), (forget_shape, "lacks its shape")],
    ids=["fails", "breaks the graph", "forgets a shape"],
)
def test_an_error_in_a_pass_names_the_pass(
    conversion: str,
    change: Callable[[fx.GraphModule], PassResult],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline, "EXACT_PASSES", (*pipeline.EXACT_PASSES, change))
    with pytest.raises(InternalError, match=rf"the pass {change.__name__} failed.*bug") as caught:
        CONVERSIONS[conversion](network(), SHAPE)
    assert reason in str(caught.value)
    assert not isinstance(caught.value, ConversionError)


def test_the_graph_is_checked_after_every_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """One check per pass and rewrite that ran, and none is left out."""
    ran: list[str] = []
    checked: list[fx.GraphModule] = []
    run, check = pipeline.run_pass, run_pass_module.check_graph

    def noted_check(clip_graph: fx.GraphModule) -> None:
        checked.append(clip_graph)
        check(clip_graph)

    def noted(
        clip_graph: fx.GraphModule, change: Callable[..., PassResult], *args: object
    ) -> PassResult:
        result = run(clip_graph, change, *args)
        ran.append(change.__name__)
        assert checked[len(ran) - 1 :] == [clip_graph]
        return result

    monkeypatch.setattr(run_pass_module, "check_graph", noted_check)
    monkeypatch.setattr(pipeline, "run_pass", noted)
    co3d.convert(FRAMEWISE["gate"](), SHAPE)
    exact = [change.__name__ for change in pipeline.EXACT_PASSES]
    rewrites = [
        "even_out_frame_picking",
        "fix_adaptive_pools",
        "roll_loops",
        "free_batch",
        "localise_gates",
    ]
    assert ran == [*exact, *rewrites, "free_batch", "convolve_space_first"]


@pytest.mark.parametrize("change", dict.fromkeys(pipeline.EXACT_PASSES), ids=lambda c: c.__name__)
def test_a_pass_reports_whether_it_changed_the_graph(change: Callable[..., PassResult]) -> None:
    clip_graph = captured()
    before = [(n.op, n.target, n.args, n.kwargs) for n in clip_graph.graph.nodes]
    result = run_pass(clip_graph, change)
    after = [(n.op, n.target, n.args, n.kwargs) for n in clip_graph.graph.nodes]
    assert result.changed == (before != after)
    assert result.approximations == ()
    assert not run_pass(clip_graph, change).changed


# Options are checked in `ConvertOptions` alone.


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"window": 0}, "got window 0, expected at least 1 frame"),
        ({"rate": "fast"}, "got rate='fast', expected 'dense' or 'native'"),
        ({"scope": "clip"}, "got scope='clip', expected 'frame' or 'window'"),
        ({"edges": "end"}, "got edges='end', expected 'start', 'both' or 'none'"),
        ({"spread": True}, "got spread=True with rate='dense'"),
    ],
)
def test_all_entry_points_refuse_the_same_options(given: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        ConvertOptions(**given)
    with pytest.raises(OptionError, match=message):
        co3d.convert(network(), SHAPE, **given)


@pytest.mark.parametrize("conversion", CONVERSIONS)
def test_every_conversion_validates_once_before_it_captures(
    conversion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ConvertOptions] = []
    validate = ConvertOptions.__post_init__

    def noted(self: ConvertOptions) -> None:
        made.append(self)
        validate(self)
        raise RuntimeError("validated")

    monkeypatch.setattr(options_module.ConvertOptions, "__post_init__", noted)
    with pytest.raises(RuntimeError, match="validated"):
        CONVERSIONS[conversion](network(), SHAPE)
    assert len(made) == 1


# Inserted nodes have shapes and origins.


def test_an_inserted_node_has_its_shape_and_its_origin() -> None:
    clip_graph = captured()
    relu = next(n for n in clip_graph.graph.nodes if "relu" in n.name)
    with clip_graph.graph.inserting_after(relu):
        constant = insert_constant(clip_graph, relu, "factor", torch.ones(1, 4, 1, 1, 1))
    with clip_graph.graph.inserting_after(constant):
        scaled = insert(relu, torch.ops.aten.mul.Tensor, (relu, constant), name="scaled")
    assert scaled.name == "scaled"
    assert scaled.meta["val"].shape == relu.meta["val"].shape
    assert constant.meta["val"].shape == (1, 4, 1, 1, 1)
    assert scaled.meta["origin"] == constant.meta["origin"] == relu.meta["origin"]


def test_readers_are_visited_once_and_in_graph_order() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    near = graph.call_function(torch.relu, (x,))
    far = graph.call_function(torch.add, (near, x))
    last = graph.call_function(torch.mul, (far, near))
    seen: list[fx.Node] = []
    visit_readers([x], lambda node: (seen.append(node), True)[1])
    assert seen == [near, far, last]


def test_shapes_are_updated_only_where_they_change() -> None:
    clip_graph = captured()
    nodes = {n.name: n for n in clip_graph.graph.nodes}
    (clip,) = (n for n in nodes.values() if n.op == "placeholder")
    clip.meta["val"] = clip.meta["val"][:, :, :4]
    propagate_shapes([clip])
    assert all(n.meta["val"].shape[2] == 4 for n in nodes.values() if "conv" in n.name and n.args)
    relu = next(n for n in nodes.values() if "relu" in n.name)
    assert relu.meta["val"].shape == (2, 4, 4, 6, 6)
