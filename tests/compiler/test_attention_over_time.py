"""Attention over a clip: with `scope="window"` each frame attends to the newest frames."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from co3d.compiler import convert
from co3d.errors import ConversionError
from support.networks import Apply, stem
from support.newest_frames import Attend, attend_newest
from support.rule_networks import SHAPE
from support.streaming import make_clips, randomise_, relative_error, run_steps

FRAMES = SHAPE[1]
Function = Callable[[nn.Module, Tensor, Attend], Tensor]


def softmax(products: Tensor) -> Tensor:
    return products.softmax(-1)


def by_matmul(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.transpose(-1, -2)).softmax(-1) @ v


def by_bmm(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.bmm(F.softmax(torch.bmm(q, k.transpose(1, 2)), 2), v)


def by_sdpa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, scale=1.0)


def without_softmax(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.transpose(-1, -2)) / (FRAMES * 9) @ v


def places_of_all_frames(m: nn.Module, x: Tensor, attend: Attend) -> Tensor:
    """A non-local block with fewer positions for keys than for queries."""
    y = m.stem(x)
    fewer = F.max_pool3d(y, (1, 2, 2))
    queries, keys, values = (
        layer(value).flatten(2).transpose(1, 2)
        for layer, value in ((m.q, y), (m.k, fewer), (m.v, fewer))
    )
    return y + attend(queries, keys, values).transpose(1, 2).view_as(y)


def heads_in_an_axis(m: nn.Module, x: Tensor, attend: Attend) -> Tensor:
    y = m.stem(x).mean((3, 4)).transpose(1, 2)
    parts = (part.unflatten(-1, (2, 2)).transpose(1, 2) for part in m.qkv(y).chunk(3, -1))
    return (y + attend(*parts).transpose(1, 2).flatten(2)).transpose(1, 2)


def heads_in_the_batch(m: nn.Module, x: Tensor, attend: Attend) -> Tensor:
    y = m.stem(x).mean((3, 4)).transpose(1, 2)
    n, t, _ = y.shape
    parts = (
        part.reshape(n, t, 2, 2).transpose(1, 2).reshape(n * 2, t, 2)
        for part in m.qkv(y).chunk(3, -1)
    )
    mixed = attend(*parts).reshape(n, 2, t, 2).transpose(1, 2).reshape(n, t, 4)
    return (y + mixed).transpose(1, 2)


def each_place_over_time(m: nn.Module, x: Tensor, attend: Attend) -> Tensor:
    y = m.stem(x)
    n, c, t, h, w = y.shape
    rows = y.permute(0, 3, 4, 2, 1).reshape(n * h * w, t, c)
    mixed = attend(*m.qkv(rows).chunk(3, -1))
    return y + mixed.reshape(n, h, w, t, c).permute(0, 4, 3, 1, 2)


def network(function: Function, attend: Attend) -> nn.Module:
    torch.manual_seed(0)
    layers = {name: nn.Conv3d(4, 4, 1) for name in "qkv"}
    model = Apply(lambda m, x: function(m, x, attend), stem=stem(), qkv=nn.Linear(4, 12), **layers)
    return randomise_(model).double()


def errors_of_steps(model: nn.Module, function: Function, weigh: Callable) -> list[float]:
    """Errors of steps for clips of the training length and longer, against each frame alone."""
    program = convert(model, SHAPE, scope="window", edges="both")
    (line,) = program.approximations
    assert line.startswith("model: attends to the newest frames instead of")
    lengths = [FRAMES, 5, 13]
    clips = make_clips(lengths, (SHAPE[0], *SHAPE[2:]), torch.float64)
    errors = []
    with torch.inference_mode():
        for outputs, clip in zip(run_steps(program, clips), clips, strict=True):
            newest = network(function, attend_newest(clip.shape[1], FRAMES, weigh))
            frames = torch.stack(outputs[program.delay :], 1)
            errors.append(relative_error(frames, newest(clip[None])[0]))
    return errors


OF_THREE_AXES = [places_of_all_frames, heads_in_the_batch, each_place_over_time]


@pytest.mark.parametrize(
    ("attend", "function"),
    [
        *((attend, function) for attend in (by_matmul, by_sdpa) for function in OF_THREE_AXES),
        *((attend, heads_in_an_axis) for attend in (by_matmul, by_sdpa)),
        *((by_bmm, function) for function in OF_THREE_AXES),
    ],
)
def test_each_frame_attends_to_the_newest(attend: Attend, function: Function) -> None:
    errors = errors_of_steps(network(function, attend), function, softmax)
    assert max(errors) < 1e-10


def test_attention_needs_no_softmax() -> None:
    model = network(places_of_all_frames, without_softmax)
    errors = errors_of_steps(model, places_of_all_frames, lambda products: products / (FRAMES * 9))
    assert max(errors) < 1e-10


def by_inverses(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.transpose(-1, -2)).reciprocal() @ v


def test_operators_infinite_at_zero_ignore_missing_frames() -> None:
    model = network(places_of_all_frames, by_inverses)
    errors = errors_of_steps(model, places_of_all_frames, torch.reciprocal)
    assert max(errors) < 1e-8  # near its poles the products lose digits


def test_macs_of_attention_do_not_depend_on_how_it_is_written() -> None:
    counted = {
        (program.macs_per_frame, program.clip_macs)
        for attend in (by_matmul, by_sdpa)
        if (program := convert(network(places_of_all_frames, attend), SHAPE, scope="window"))
    }
    assert len(counted) == 1
    plain = convert(network(lambda m, x, _: m.stem(x), by_sdpa), SHAPE)
    ((per_frame, _),) = counted
    # Projections of 36 and of two times 9 places, and products with keys and with values.
    own = 4 * 4 * (36 + 2 * 9) + 2 * 4 * 36 * FRAMES * 9
    assert per_frame - plain.macs_per_frame == own


EARLIER = torch.ones(FRAMES, FRAMES, dtype=torch.bool).tril()
BIAS = torch.zeros(FRAMES, FRAMES).double().masked_fill(~EARLIER, float("-inf"))


def causal_by_flag(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)


def causal_by_mask(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, EARLIER, scale=1.0)


def causal_by_bias(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.transpose(-1, -2) + BIAS).softmax(-1) @ v


def causal_by_filling(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.transpose(-1, -2)).masked_fill(~EARLIER, -1e9).softmax(-1) @ v


@pytest.mark.parametrize(
    "attend", [causal_by_flag, causal_by_mask, causal_by_bias, causal_by_filling]
)
def test_causal_attention_equals_the_clip_until_the_window_is_full(attend: Attend) -> None:
    model = network(heads_in_an_axis, attend)
    assert max(errors_of_steps(model, heads_in_an_axis, softmax)) < 1e-10
    program = convert(model, SHAPE, scope="window", edges="both")
    assert program.approximations[0].endswith("instead of all before")
    (clip,) = make_clips([FRAMES], (SHAPE[0], *SHAPE[2:]), torch.float64)
    (outputs,) = run_steps(program, [clip])
    with torch.inference_mode():
        expected = model(clip[None])[0]
    assert relative_error(torch.stack(outputs[program.delay :], 1), expected) < 1e-10


def strictly_earlier(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    mask = EARLIER & ~torch.eye(FRAMES, dtype=torch.bool)
    mask[0, 0] = True
    return F.scaled_dot_product_attention(q, k, v, mask)


def only_near(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, EARLIER & ~EARLIER.tril(-3))


def later_ones(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, EARLIER.T)


def over_queries(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.transpose(-1, -2)).softmax(-2) @ v


def weighed_by_distance(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    ages = torch.arange(float(FRAMES)).double()
    return (q @ k.transpose(-1, -2) * (ages - ages[:, None])).softmax(-1) @ v


def read_twice(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = (q @ k.transpose(-1, -2)).softmax(-1)
    return weights @ v + weights.mean(-1, keepdim=True)


def keys_reversed(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.flip(-2).transpose(-1, -2)).softmax(-1) @ v


def first_alone(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """A mask with one row, for all queries."""
    seen = torch.zeros(1, FRAMES, dtype=torch.bool)
    seen[0, 0] = True
    return F.scaled_dot_product_attention(q, k, v, seen)


def first_alone_by_bias(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.transpose(-1, -2) + BIAS[:1]).softmax(-1) @ v


def no_mask(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, torch.ones(FRAMES, 1, dtype=torch.bool))


def later_queries(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    mixed = F.scaled_dot_product_attention(q[..., 2:, :], k, v)
    return F.pad(mixed, (0, 0, 2, 0))


def earlier_keys(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k[..., :-2, :], v[..., :-2, :])


def last_query(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q[..., -1:, :], k, v) + v


@pytest.mark.parametrize(
    "attend",
    [
        first_alone,
        first_alone_by_bias,
        no_mask,
        later_queries,
        earlier_keys,
        last_query,
        strictly_earlier,
        only_near,
        later_ones,
        over_queries,
        weighed_by_distance,
        read_twice,
        keys_reversed,
    ],
)
def test_lookalikes_of_attention_over_the_clip_are_refused(attend: Attend) -> None:
    with pytest.raises(ConversionError, match="cannot run frame by frame"):
        convert(network(heads_in_an_axis, attend), SHAPE, scope="window")


def test_without_scope_window_attention_is_refused_or_rerun() -> None:
    model = network(heads_in_an_axis, by_sdpa)
    with pytest.raises(ConversionError, match='convert with scope="window"'):
        convert(model, SHAPE)
    program = convert(model, SHAPE, fallback=True)
    assert program.fallbacks
    assert not program.approximations


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_multihead_attention_of_torch_over_time(
    batch_first: bool, need_weights: bool, bias: bool
) -> None:
    """The reference uses the layer's weights, and attends frame by frame."""
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(4, 2, batch_first=batch_first, bias=bias)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)

    def clip_network(m: nn.Module, x: Tensor) -> Tensor:
        y = m.stem(x).mean((3, 4)).permute(*((0, 2, 1) if batch_first else (2, 0, 1)))
        mixed, _ = m.layer(y, y, y, need_weights=need_weights)
        return mixed.permute(*((0, 2, 1) if batch_first else (1, 2, 0)))

    model = Apply(clip_network, stem=stem(), layer=layer).double().eval()
    program = convert(model, SHAPE, scope="window", edges="both")
    assert len(program.approximations) == 1
    clips = make_clips([FRAMES, 11], (SHAPE[0], *SHAPE[2:]), torch.float64)
    for outputs, clip in zip(run_steps(program, clips), clips, strict=True):
        with torch.inference_mode():
            y = model.stem(clip[None]).mean((3, 4)).transpose(1, 2)
            parts = F.linear(y, layer.in_proj_weight, layer.in_proj_bias).chunk(3, -1)
            q, k, v = (part.unflatten(-1, (2, 2)).transpose(1, 2) for part in parts)
            attend = attend_newest(clip.shape[1], FRAMES, softmax)
            mixed = attend(q / math.sqrt(2), k, v).transpose(1, 2).flatten(2)
            expected = layer.out_proj(mixed).transpose(1, 2)[0]
        assert relative_error(torch.stack(outputs[program.delay :], 1), expected) < 1e-10


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_transformer_layer_of_torch_with_time_first(norm_first: bool) -> None:
    """Its residuals add two values whose batch is not the first axis."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, norm_first=norm_first)
    first = nn.TransformerEncoderLayer(4, 2, 8, norm_first=norm_first, batch_first=True)
    first.load_state_dict(layer.state_dict())
    programs = []
    for block, to in ((layer, (2, 0, 1)), (first, (0, 2, 1))):
        back = (1, 2, 0) if to[0] else (0, 2, 1)

        def forward(m: nn.Module, x: Tensor, to: tuple = to, back: tuple = back) -> Tensor:
            return m.layer(m.stem(x).mean((3, 4)).permute(*to)).permute(*back)

        torch.manual_seed(1)
        model = Apply(forward, stem=stem(), layer=block).double().eval()
        programs.append(convert(model, SHAPE, scope="window", edges="both"))
    clips = make_clips([FRAMES, 11], (SHAPE[0], *SHAPE[2:]), torch.float64)
    for ours, theirs in zip(*(run_steps(p, clips) for p in programs), strict=True):
        assert relative_error(torch.stack(ours), torch.stack(theirs)) < 1e-10


@pytest.mark.parametrize("frozen", [True, False])
def test_multihead_attention_of_torch_within_frames_is_exact(frozen: bool) -> None:
    """Also with frozen weights, for which torch uses another operator."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dropout=0.1)

    def clip_network(m: nn.Module, x: Tensor) -> Tensor:
        y = m.stem(x)
        n, c, t, h, w = y.shape
        places = m.layer(y.permute(0, 2, 3, 4, 1).reshape(n * t, h * w, c))
        return places.reshape(n, t, h, w, c).permute(0, 4, 1, 2, 3)

    model = Apply(clip_network, stem=stem(), layer=layer).double().eval()
    if frozen:
        model.requires_grad_(False)
    program = convert(model, SHAPE, edges="both")
    assert not program.approximations
    assert not program.fallbacks
    clips = make_clips([FRAMES, 11], (SHAPE[0], *SHAPE[2:]), torch.float64)
    for outputs, clip in zip(run_steps(program, clips), clips, strict=True):
        with torch.inference_mode():
            expected = model(clip[None])[0]
        assert relative_error(torch.stack(outputs[program.delay :], 1), expected) < 1e-10


def test_attention_with_active_dropout_is_not_rewritten() -> None:
    """Its results are random and must not be replaced by those without dropout."""
    layer = nn.MultiheadAttention(4, 2)

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = m.stem(x).mean((3, 4)).permute(2, 0, 1)
        mixed, _ = F.multi_head_attention_forward(
            y,
            y,
            y,
            4,
            num_heads=2,
            in_proj_weight=layer.in_proj_weight,
            in_proj_bias=layer.in_proj_bias,
            bias_k=None,
            bias_v=None,
            add_zero_attn=False,
            dropout_p=0.5,
            out_proj_weight=layer.out_proj.weight,
            out_proj_bias=layer.out_proj.bias,
            training=True,
        )
        return mixed.permute(1, 2, 0)

    with pytest.raises(ConversionError):
        convert(Apply(forward, stem=stem(), layer=layer).eval(), SHAPE, scope="window")
