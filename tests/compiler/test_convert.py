"""The contract of `convert` other than parity: figures, determinism, errors."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from co3d.compiler import StepProgram, convert
from co3d.errors import ConversionError, OptionError
from support.networks import Apply, Classifier, Residual, small_network, stem

SHAPE = (3, 8, 6, 6)


def test_timing_of_a_known_network() -> None:
    model = Classifier(stem(), nn.Conv3d(4, 4, (5, 1, 1), padding=(2, 0, 0)))
    program = convert(model, SHAPE, window=10)
    assert program.delay == 1 + 2
    assert program.receptive_field == 3 + 4 + 9
    assert program.first_valid_step == 3 + 9
    assert program.temporal_stride == 1
    assert program.frame_shape == (3, 6, 6)
    assert program.output_shape == (5,)


def test_state_is_past_frames_and_delay_lines_only() -> None:
    model = nn.Sequential(stem(), Residual())
    program = convert(model, SHAPE)
    frame, feature = 3 * 36, 4 * 36
    # stem: two past frames; residual: two past features, which also serve as its delay line.
    assert program.state_bytes == 4 * (2 * frame + 2 * feature)


def test_the_window_state_is_kept_after_the_spatial_pool() -> None:
    short, long = (convert(Classifier(stem()), SHAPE, window=w) for w in (4, 64))
    assert long.state_bytes - short.state_bytes == 60 * 4 * 4


def test_macs_per_frame_do_not_depend_on_the_window() -> None:
    model = Classifier(stem())
    short, long = (convert(model, SHAPE, window=w) for w in (4, 64))
    assert short.macs_per_frame == long.macs_per_frame == 27 * 3 * 4 * 36 + 4 * 5
    assert short.clip_macs == 8 * 27 * 3 * 4 * 36 + 4 * 5


def test_conversion_is_deterministic_and_leaves_the_model_alone() -> None:
    model = small_network().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first, second = convert(model, SHAPE), convert(model, SHAPE)
    assert _code(first) == _code(second)
    assert first.explain() == second.explain()
    assert first.fingerprint == second.fingerprint
    assert model.training
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())


def _code(program: StepProgram) -> list[str]:
    graphs = [g for phase in program.phases for g in (phase.steady, phase.masked)]
    return [graph.code for graph in graphs if graph is not None]


def _weights(graph: torch.fx.GraphModule | None) -> set[int]:
    assert graph is not None
    return {b.data_ptr() for b in graph.buffers() if b.is_floating_point()}


def test_weights_are_stored_once() -> None:
    (phase,) = convert(small_network(), SHAPE).phases
    assert _weights(phase.steady) == _weights(phase.masked)
    strided = nn.Sequential(stem(), nn.Conv3d(4, 4, 3, (2, 1, 1), 1))
    first, second = convert(strided, SHAPE, rate="native").phases
    assert _weights(second.steady) < _weights(first.steady)


def test_step_graph_has_no_time_axis() -> None:
    program = convert(small_network(), SHAPE)
    (phase,) = program.phases
    calls = [n.target for n in phase.steady.graph.nodes if n.op == "call_function"]
    called = {getattr(target, "__name__", str(target)) for target in calls}
    assert not any("3d" in target or "where" in target for target in called)


def test_gate_is_reported_as_an_approximation() -> None:
    program = convert(small_network(), SHAPE)
    assert [line.split(":")[0] for line in program.approximations] == ["trunk.4"]
    assert "1 approximation" in program.explain()
    assert convert(Classifier(stem()), SHAPE).approximations == ()


def test_the_fingerprint_depends_on_weights_and_options() -> None:
    model = Classifier(stem())
    original = convert(model, SHAPE).fingerprint
    assert convert(model, SHAPE, window=3).fingerprint != original
    with torch.no_grad():
        model.fc.bias[0] += 1
    assert convert(model, SHAPE).fingerprint != original


@pytest.mark.parametrize("window", [0, -1])
def test_a_window_below_one_is_refused(window: int) -> None:
    with pytest.raises(OptionError, match="at least 1"):
        convert(stem(), SHAPE, window=window)


@pytest.mark.parametrize("shape", [(3, 8, 6), (3, 0, 6, 6), (1, 3, 8, 6, 6)])
def test_a_clip_shape_out_of_range_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match=r"\(C, T, H, W\)"):
        convert(stem(), shape)


def test_unknown_edges_are_refused() -> None:
    with pytest.raises(OptionError, match="'start', 'both' or 'none'"):
        convert(stem(), SHAPE, edges="end")  # type: ignore[arg-type]


def test_a_window_without_a_pool_is_refused() -> None:
    with pytest.raises(ConversionError, match="no pool over time"):
        convert(stem(), SHAPE, window=4)


def test_all_unsupported_operators_are_listed_with_module_and_line() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = stem()
            self.fc = nn.Linear(4, 5)

        def forward(self, x: Tensor) -> Tensor:
            left = self.stem(x).flip(2)
            right = self.fc(self.stem(x).flatten(2, 3).unflatten(2, (3, 16)).mean((2, 3, 4)))
            return left.mean((2, 3, 4)).sum(1, keepdim=True) + right

    with pytest.raises(ConversionError) as caught:
        convert(Mixed(), SHAPE)
    message = str(caught.value)
    assert "2 operators" in message
    assert "aten.flip" in message
    assert "it cuts the time axis" in message
    assert "test_convert.py" in message


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda m, x: x.sort(2)[0], "acts along time"),
        (lambda m, x: torch.linalg.det(x), "no rule"),
        (lambda m, x: x.softmax(2), "normalises over time"),
        (lambda m, x: x.mean(0), "over the batch"),
        (lambda m, x: x.reshape(1, -1), "batch"),
        (lambda m, x: torch.cat([x, x], 2), "along time"),
        (lambda m, x: F.pad(x, (0, 0, 0, 0, 1, 1), mode="replicate"), "pads time"),
        (lambda m, x: x + torch.arange(8.0).view(8, 1, 1), "constant"),
        (lambda m, x: x.kthvalue(2, 2).values, "acts along time"),
        (lambda m, x: F.group_norm(x, 3), "statistics of the whole clip"),
        (lambda m, x: F.interpolate(x, scale_factor=2), "makes 2 frames of every frame"),
        (
            lambda m, x: F.conv_transpose3d(x, torch.ones(3, 3, 2, 2, 2), stride=2),
            "makes 2 frames of every frame",
        ),
        (lambda m, x: F.adaptive_avg_pool3d(x, (3, 6, 6)), "no whole ratio"),
        (lambda m, x: x + torch.rand(8, 3, 1, 1, 1)[:2], "per row of the batch"),
        (lambda m, x: x[:1], "batch"),
        (lambda m, x: m.c(x.mean(2, keepdim=True)), "collapsed"),
    ],
)
def test_unsupported_uses_of_operators_are_refused(function: object, reason: str) -> None:
    with pytest.raises(ConversionError, match=reason):
        convert(Apply(function, c=nn.Conv3d(3, 3, 3, padding=1)), SHAPE)


def test_uneven_frame_picking_becomes_a_listed_stride() -> None:
    uneven = Apply(lambda m, x: m.c(x[:, :, torch.tensor([0, 2, 5, 7])]), c=stem())
    program = convert(uneven, SHAPE, edges="both")
    assert program.temporal_stride == 2
    assert "instead of frames 0, 2, 5, 7" in program.approximations[0]
    even = Apply(lambda m, x: m.c(x.index_select(2, torch.tensor([0, 2, 4, 6]))), c=stem())
    # Exact on clips of this length; of longer ones the table names the same four frames.
    assert convert(even, SHAPE, edges="both").approximations == (
        "model: takes every 2th frame (0, 2, 4 …) instead of these of a clip",
    )
    # floor(linspace(0, 7, 3)), where every second would be even, is a pick of three frames.
    odd = convert(Apply(lambda m, x: x[:, :, torch.tensor([0, 3, 7])]), SHAPE)
    assert odd.output_shape == (3, 3, 6, 6)
    assert odd.approximations == ()


def test_a_data_dependent_branch_is_refused() -> None:
    model = Apply(lambda m, x: x * 2 if x.sum() > 0 else x)
    with pytest.raises(
        ConversionError, match=r"data-dependent branch in the model \(Apply\), .*test_convert\.py"
    ):
        convert(model, SHAPE)
