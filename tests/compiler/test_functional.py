"""What is written without torch's decompositions is what they give."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from co3d.compiler import StepProgram, convert, functional
from co3d.compiler.capture import capture
from co3d.errors import ConversionError
from support.networks import Apply, small_network, stem
from support.rule_networks import FRAMEWISE, HEADS, SHAPE

_ATEN = torch.ops.aten


def vector(x: Tensor) -> Tensor:
    return x.mean((3, 4))


# How networks come to have each of the operators.
KEPT: dict[object, Callable[[nn.Module, Tensor], Tensor]] = {
    _ATEN.conv1d.default: lambda m, x: m.conv1(vector(m.stem(x))),
    _ATEN.conv2d.default: lambda m, x: m.conv2(m.stem(x).transpose(1, 2).flatten(0, 1)),
    _ATEN.conv3d.default: lambda m, x: m.conv3(m.stem(x)),
    _ATEN.linear.default: lambda m, x: m.linear(m.stem(x)),
    _ATEN.add.Tensor: lambda m, x: torch.add(m.stem(x), m.conv3(m.stem(x)), alpha=2),
    _ATEN.sub.Tensor: lambda m, x: m.stem(x) - m.conv3(m.stem(x)),
    _ATEN.mul.Tensor: lambda m, x: m.stem(x) * m.conv3(m.stem(x)),
    _ATEN.div.Tensor: lambda m, x: m.stem(x) / 2.5,
    _ATEN.relu.default: lambda m, x: F.relu(m.stem(x)),
    _ATEN.hardtanh.default: lambda m, x: F.hardtanh(m.stem(x)),
    _ATEN.leaky_relu.default: lambda m, x: F.leaky_relu(m.stem(x), 0.2),
    _ATEN.gelu.default: lambda m, x: F.gelu(m.stem(x), approximate="tanh"),
    _ATEN.silu.default: lambda m, x: F.silu(m.stem(x)),
    _ATEN.sigmoid.default: lambda m, x: m.stem(x).sigmoid(),
    _ATEN.tanh.default: lambda m, x: m.stem(x).tanh(),
    _ATEN.hardsigmoid.default: lambda m, x: F.hardsigmoid(m.stem(x)),
    _ATEN.hardswish.default: lambda m, x: F.hardswish(m.stem(x)),
    _ATEN.avg_pool3d.default: lambda m, x: F.avg_pool3d(m.stem(x), 3, 1, 1),
    _ATEN.max_pool3d.default: lambda m, x: F.max_pool3d(m.stem(x), 3, 1, 1),
    _ATEN.adaptive_avg_pool3d.default: lambda m, x: F.adaptive_avg_pool3d(m.stem(x), (4, 1, 1)),
    _ATEN.mean.dim: lambda m, x: m.stem(x).mean((2, 3, 4)),
    _ATEN.cat.default: lambda m, x: torch.cat([m.stem(x), m.conv3(m.stem(x))], 1),
}
IN_PLACE: dict[object, Callable[[nn.Module, Tensor], Tensor]] = {
    _ATEN.add_.Tensor: lambda m, x: m.stem(x).add_(m.conv3(m.stem(x)), alpha=2),
    _ATEN.mul_.Tensor: lambda m, x: m.stem(x).mul_(m.conv3(m.stem(x))),
    _ATEN.relu_.default: lambda m, x: F.relu(m.norm(m.stem(x)), inplace=True),
    _ATEN.hardtanh_.default: lambda m, x: F.hardtanh(m.stem(x), inplace=True),
    _ATEN.leaky_relu_.default: lambda m, x: F.leaky_relu(m.stem(x), 0.2, inplace=True),
    _ATEN.silu_.default: lambda m, x: F.silu(m.stem(x), inplace=True),
    _ATEN.sigmoid_.default: lambda m, x: m.stem(x).sigmoid_(),
    _ATEN.tanh_.default: lambda m, x: m.stem(x).tanh_(),
    _ATEN.hardsigmoid_.default: lambda m, x: F.hardsigmoid(m.stem(x), inplace=True),
    _ATEN.hardswish_.default: lambda m, x: F.hardswish(m.stem(x), inplace=True),
}
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "X3D": small_network,
    "dropout and flatten": lambda: apply(lambda m, x: m.head(m.stem(x).mean((2, 3, 4), True))),
    "in place, mixed": lambda: apply(
        lambda m, x: m.relu(m.conv3(m.relu(m.stem(x)).relu())).add_(m.stem(x))
    ),
    **{f"framewise: {name}": make for name, make in list(FRAMEWISE.items())[3:12]},
    **{f"head: {name}": make for name, make in list(HEADS.items())[:3]},
}


def apply(function: Callable[[nn.Module, Tensor], Tensor]) -> nn.Module:
    torch.manual_seed(0)
    return Apply(
        function,
        stem=stem(),
        norm=nn.BatchNorm3d(4),
        relu=nn.ReLU(inplace=True),
        conv1=nn.Conv1d(4, 4, 3, padding=1),
        conv2=nn.Conv2d(4, 4, 3, padding=1),
        conv3=nn.Conv3d(4, 4, 3, padding=1),
        linear=nn.Linear(6, 6),
        head=nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(4, 3)),
    ).eval()


def say_all(program: StepProgram) -> tuple[object, ...]:
    return (
        program.fingerprint,
        program.explain(),
        program.clip_graph.code,
        [(n.name, n.meta["origin"]) for n in program.clip_graph.graph.nodes if n.op != "output"],
    )


def is_decomposed(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the capture of a network asks torch to decompose its graph."""
    asked = []
    decompose = torch.export.ExportedProgram.run_decompositions
    monkeypatch.setattr(
        torch.export.ExportedProgram,
        "run_decompositions",
        lambda exported, table: (asked.append(table), decompose(exported, table))[1],
    )
    capture(model, [SHAPE])
    return bool(asked)


def test_every_operator_has_a_network_here() -> None:
    assert KEPT.keys() == functional.KEPT
    assert IN_PLACE.keys() == functional.IN_PLACE.keys()


# torch's own use of its deprecated pytree API.
@pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning")
@pytest.mark.parametrize("target", [*KEPT, *IN_PLACE], ids=str)
def test_an_operator_is_kept_as_torch_keeps_it(
    target: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = apply({**KEPT, **IN_PLACE}[target])
    exported = torch.export.export(model, (torch.zeros(2, *SHAPE),), strict=False)
    assert target in {node.target for node in exported.graph.nodes}
    nodes = [n for n in exported.graph.nodes if n.target is target]
    assert all(functional._is_usual(node) for node in nodes)
    # Where they stand beside operators that torch must decompose, they are left to it.
    wanted = functional.IN_PLACE.get(target, target)
    assert wanted in {node.target for node in exported.run_decompositions({}).graph.nodes}
    ours = functional.write_functional(exported)
    monkeypatch.setattr(functional, "is_usual", lambda _: False)
    theirs = functional.write_functional(exported)
    assert [(n.op, n.target, n.name, n.meta["val"].shape) for n in operators(ours)] == [
        (n.op, n.target, n.name, n.meta["val"].shape) for n in operators(theirs)
    ]


def operators(exported: functional.FunctionalExport) -> list:
    return [
        n
        for n in exported.graph.nodes
        if n.op == "call_function" and isinstance(n.meta["val"], Tensor)
    ]


@pytest.mark.parametrize("name", NETWORKS)
def test_programs_are_those_of_torchs_decompositions(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = NETWORKS[name]()
    ours = convert(model, SHAPE, edges="both")
    monkeypatch.setattr(functional, "is_usual", lambda _: False)
    assert say_all(ours) == say_all(convert(model, SHAPE, edges="both"))


@pytest.mark.parametrize(
    "make", [small_network, *map(lambda f: lambda: apply(f), IN_PLACE.values())]
)
def test_usual_networks_are_traced_once(
    make: Callable[[], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_decomposed(make(), monkeypatch)


def read_what_was_written_over(m: nn.Module, x: Tensor) -> Tensor:
    y = m.stem(x)
    m.relu(y)
    return y + m.conv3(y)


def write_into_a_view(m: nn.Module, x: Tensor) -> Tensor:
    y = m.stem(x)
    y[:, :2].mul_(2.0)
    return y


def keep_a_narrower_kind(m: nn.Module, x: Tensor) -> Tensor:
    return m.stem(x).add_(torch.ones(1, dtype=torch.float64))


@pytest.mark.parametrize(
    "function",
    [write_into_a_view, keep_a_narrower_kind],
)
def test_writes_that_others_see_are_left_to_torch(
    function: Callable[[nn.Module, Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = apply(function)
    assert is_decomposed(model, monkeypatch)
    clip = torch.randn(2, *SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(capture(model, [SHAPE]).clip_graph(clip), model(clip))


def test_what_was_written_over_is_read_anew() -> None:
    model = apply(read_what_was_written_over)
    clip = torch.randn(2, *SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(capture(model, [SHAPE]).clip_graph(clip), model(clip))


def test_a_network_that_writes_into_its_clip_is_refused() -> None:
    with pytest.raises(ConversionError, match="writes into the clip"):
        convert(apply(lambda m, x: m.stem(m.relu(x))), SHAPE)


def test_a_batch_norm_by_the_clips_own_statistics_is_left_to_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = nn.Sequential(stem(), nn.BatchNorm3d(4, track_running_stats=False)).eval()
    assert is_decomposed(model, monkeypatch)
