"""Graphs that `functional` writes equal those of torch's decompositions."""

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


# A network for each of the operators.
MAKES_A_TENSOR: dict[object, Callable[[nn.Module, Tensor], Tensor]] = {
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
VIEWS: dict[object, Callable[[nn.Module, Tensor], Tensor]] = {
    _ATEN.view.default: lambda m, x: m.linear(m.stem(x).view(-1, 4, 8, 36)[..., :6]),
    _ATEN.select.int: lambda m, x: m.stem(x).select(3, 1) + 1,
    _ATEN.slice.Tensor: lambda m, x: m.stem(x)[:, :, :, 1:3] + 1,
    _ATEN.permute.default: lambda m, x: m.stem(x).permute(0, 2, 1, 4, 3) + 1,
    _ATEN.transpose.int: lambda m, x: m.stem(x).transpose(1, 2) + 1,
    _ATEN.squeeze.dim: lambda m, x: m.stem(x).mean(3, True).squeeze(3) + 1,
    _ATEN.unsqueeze.default: lambda m, x: m.stem(x).unsqueeze(1) + 1,
    _ATEN.expand.default: lambda m, x: m.stem(x).mean(3, True).expand(-1, -1, -1, 6, -1) + 1,
    _ATEN.split.Tensor: lambda m, x: torch.cat(m.stem(x).split(2, 1)[::-1], 1),
    _ATEN.split_with_sizes.default: lambda m, x: torch.cat(m.stem(x).split([1, 3], 1)[::-1], 1),
    _ATEN.unbind.int: lambda m, x: torch.stack(m.stem(x).unbind(3)[::-1], 3),
}
# Operators that torch decomposes, and so do we.
WRITTEN: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "reshape as a view": lambda m, x: m.stem(x).reshape(2, 4, 8, 36) + 1,
    "reshape to what is left": lambda m, x: m.stem(x).reshape(-1, 4, 8, 36) + 1,
    "reshape as a copy": lambda m, x: m.stem(x).transpose(1, 2).reshape(-1, 32, 36) + 1,
    "flatten as a copy": lambda m, x: m.stem(x).transpose(1, 2).flatten(0, 1) + 1,
    "unflatten": lambda m, x: m.stem(x).unflatten(1, (2, 2)) + 1,
    "contiguous": lambda m, x: m.stem(x).contiguous() + 1,
    "contiguous as a copy": lambda m, x: m.stem(x).transpose(1, 2).contiguous() + 1,
    "chunk": lambda m, x: torch.cat(m.stem(x).chunk(3, 1)[::-1], 1),
    "chunk from the first": lambda m, x: torch.cat(m.stem(x).chunk(2)[::-1], 0),
    "expand_as": lambda m, x: m.stem(x).mean(3, True).expand_as(m.stem(x)) + 1,
    "nobody uses it": lambda m, x: (m.stem(x), m.stem(x).softmax(1))[0],
    "several results": lambda m, x: m.stem(x).max(3)[0] + 1,
    "attention": lambda m, x: F.scaled_dot_product_attention(*[vector(m.stem(x))] * 3),
    "padded": lambda m, x: F.pad(m.stem(x), (1, 1), value=2.0),
    "normed": lambda m, x: F.layer_norm(m.stem(x), (6,)),
    "product": lambda m, x: m.stem(x) @ m.stem(x).transpose(3, 4),
    "made anew": lambda m, x: m.stem(x) * torch.arange(6) + torch.zeros_like(x[:, :1]),
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


def describe_all(program: StepProgram) -> tuple[object, ...]:
    return (
        program.fingerprint,
        program.explain(),
        program.clip_graph.code,
        [(n.name, n.meta["origin"]) for n in program.clip_graph.graph.nodes if n.op != "output"],
    )


def needs_decomposition(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> bool:
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


def test_every_handled_operator_has_a_network_here() -> None:
    assert MAKES_A_TENSOR.keys() == functional.MAKES_A_TENSOR
    assert VIEWS.keys() == functional.VIEWS
    assert IN_PLACE.keys() == functional.IN_PLACE.keys()


# torch's own use of its deprecated pytree API.
@pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning")
@pytest.mark.parametrize("target", [*MAKES_A_TENSOR, *IN_PLACE, *VIEWS], ids=str)
def test_operators_that_torch_keeps_are_kept(
    target: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = apply({**MAKES_A_TENSOR, **IN_PLACE, **VIEWS}[target])
    exported = torch.export.export(model, (torch.zeros(2, *SHAPE),), strict=False)
    assert target in {node.target for node in exported.graph.nodes}
    nodes = [n for n in exported.graph.nodes if n.target is target]
    assert all(functional._is_supported(node) for node in nodes)
    # In graphs with operators that torch must decompose, torch decomposes all.
    decomposed = require_equal(exported, monkeypatch)
    wanted = functional.IN_PLACE.get(target, target)
    assert wanted in {node.target for node in decomposed.graph.nodes}


# torch's own use of its deprecated pytree API.
@pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning")
@pytest.mark.parametrize("name", WRITTEN)
def test_decomposed_operators_equal_those_of_torch(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = apply(WRITTEN[name])
    require_equal(torch.export.export(model, (torch.zeros(2, *SHAPE),), strict=False), monkeypatch)


def require_equal(
    exported: torch.export.ExportedProgram, monkeypatch: pytest.MonkeyPatch
) -> functional.FunctionalExport:
    """Require that our graph equals the one that torch decomposes, and return that one."""
    assert functional.is_supported(exported.graph)
    ours = functional.write_functional(exported)
    monkeypatch.setattr(functional, "is_supported", lambda _: False)
    decomposed = functional.write_functional(exported)
    assert describe(ours) == describe(decomposed)
    return decomposed


def describe(exported: functional.FunctionalExport) -> list[object]:
    """Every operator with its arguments and the dtype, sizes and strides of its result."""
    names: dict[torch.fx.Node, str] = {}
    said: list[object] = []
    for node in exported.graph.nodes:
        names[node] = f"value {len(names)}"
        if node.op == "call_function":
            given = torch.fx.map_arg((node.args, node.kwargs), names.__getitem__)
            value = node.meta["val"]
            values = [value] if isinstance(value, Tensor) else value[:1]
            said.append(
                (node.target, given, [(v.dtype, tuple(v.shape), v.stride()) for v in values])
            )
    return said


@pytest.mark.parametrize("name", NETWORKS)
def test_programs_are_those_of_torchs_decompositions(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = NETWORKS[name]()
    ours = convert(model, SHAPE, edges="both")
    monkeypatch.setattr(functional, "is_supported", lambda _: False)
    assert describe_all(ours) == describe_all(convert(model, SHAPE, edges="both"))


@pytest.mark.parametrize(
    "make", [small_network, *map(lambda f: lambda: apply(f), IN_PLACE.values())]
)
def test_common_networks_are_traced_once(
    make: Callable[[], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not needs_decomposition(make(), monkeypatch)


def read_what_was_written_over(m: nn.Module, x: Tensor) -> Tensor:
    y = m.stem(x)
    m.relu(y)
    return y + m.conv3(y)


def write_into_a_view(m: nn.Module, x: Tensor) -> Tensor:
    y = m.stem(x)
    y[:, :2].mul_(2.0)
    return y


def keep_a_narrower_dtype(m: nn.Module, x: Tensor) -> Tensor:
    return m.stem(x).add_(torch.ones(1, dtype=torch.float64))


@pytest.mark.parametrize(
    "function",
    [write_into_a_view, keep_a_narrower_dtype],
)
def test_writes_with_other_readers_are_left_to_torch(
    function: Callable[[nn.Module, Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = apply(function)
    assert needs_decomposition(model, monkeypatch)
    clip = torch.randn(2, *SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(capture(model, [SHAPE]).clip_graph(clip), model(clip))


def test_overwritten_values_are_read_after_the_write() -> None:
    model = apply(read_what_was_written_over)
    clip = torch.randn(2, *SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(capture(model, [SHAPE]).clip_graph(clip), model(clip))


def test_a_network_that_writes_into_its_clip_is_refused() -> None:
    with pytest.raises(ConversionError, match="writes into the clip"):
        convert(apply(lambda m, x: m.stem(m.relu(x))), SHAPE)


def test_a_batch_norm_with_batch_statistics_is_left_to_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = nn.Sequential(stem(), nn.BatchNorm3d(4, track_running_stats=False)).eval()
    assert needs_decomposition(model, monkeypatch)


def test_constants_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = apply(lambda m, x: m.stem(x) * torch.tensor([1.0, 2, 3, 4, 5, 6]))
    assert needs_decomposition(model, monkeypatch)
