"""Operators that are decomposed, and operators along named axes."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from co3d.compiler import convert
from co3d.errors import ConversionError
from support.clip_functions import fold, unfold
from support.networks import Apply, stem
from support.streaming import worst_error

SHAPE = (3, 8, 6, 6)
TURN = torch.tensor([[[1.0, 0.2, 0.0], [0.0, 0.9, 0.1]]])
GRID = F.affine_grid(TURN, [1, 4, 6, 6], align_corners=False)
PLACES = torch.linspace(-1, 1, 36).view(1, 1, 1, 6, 6)

Function = Callable[[Tensor], Tensor]


def write_into_a_column(y: Tensor) -> Tensor:
    y = y.clone()
    y[..., -1] = y[..., -1] * 1.5
    return y


def write_into_a_box(y: Tensor) -> Tensor:
    y = y.clone()
    y[..., 1:3, -2] = 2.0
    y[:, 1] = y[:, 0]
    y[:, :, :, 0, 1:3] = 0
    return y


def add_places(y: Tensor) -> Tensor:
    places = PLACES.to(y.dtype).expand(y.shape[0], 1, y.shape[2], 6, 6)
    return torch.cat([y, places, y * 2, torch.zeros_like(y[:, :1])], 1)


def sample(y: Tensor) -> Tensor:
    frames = fold(y)
    grid = GRID.to(y.dtype).expand(len(frames), 6, 6, 2)
    return unfold(F.grid_sample(frames, grid, align_corners=False), y)


def unpool(y: Tensor) -> Tensor:
    pooled, places = F.max_pool3d(y, (1, 2, 2), return_indices=True)
    return F.max_unpool3d(pooled * 0.5, places, (1, 2, 2))


FRAMEWISE: dict[str, Function] = {
    "difference of frames": lambda y: torch.diff(y, dim=2),
    "difference in space": lambda y: torch.diff(y, dim=4),
    "einsum with a constant": lambda y: torch.einsum("ncthw,hw->nct", y, PLACES[0, 0, 0].to(y)),
    "einsum of two": lambda y: torch.einsum("ncthw,ndthw->ntcd", y, y.exp()).transpose(1, 2),
    "roll": lambda y: torch.roll(y, (1, 2), (3, 4)),
    "repeated channels": lambda y: y.repeat_interleave(2, 1),
    "cosine similarity": lambda y: F.cosine_similarity(y, y.flip(1), dim=1).unsqueeze(1),
    "largest channels": lambda y: y.topk(2, 1).values,
    "sorted columns": lambda y: y.sort(4).values,
    "gathered channels": lambda y: y.gather(1, y.max(1, keepdim=True).indices),
    "unpool": unpool,
    "sampled frames": sample,
    "columns of frames": lambda y: unfold(
        F.fold(F.unfold(fold(y), 3, padding=1), (6, 6), 3, padding=1), y
    ),
    "a column": write_into_a_column,
    "a box": write_into_a_box,
    "concatenated constants": add_places,
    "variance of channels": lambda y: y.var(1, keepdim=True),
    "moments of space": lambda y: sum(torch.var_mean(y, (3, 4), keepdim=True)),  # type: ignore[arg-type]
    "product with a matrix": lambda y: y.flatten(3) @ torch.ones(36, 2).to(y),
    "median of space": lambda y: y.flatten(3).median(3).values,
    "patches": lambda y: y.unfold(4, 3, 1).mean(-1),
    "norm of channels": lambda y: y / y.norm(dim=1, keepdim=True),
    "data": lambda y: y.data + 1,
}
OVER_TIME: dict[str, Function] = {
    "a pool of vectors": lambda y: F.adaptive_avg_pool1d(y.mean((3, 4)), 1)[..., 0],
    "variance": lambda y: y.var(2).mean((2, 3)),
    "deviation of all": lambda y: y.std((2, 3, 4)),
    "biased variance": lambda y: y.mean((3, 4)).var(2, unbiased=False),
    "kept axes": lambda y: y.var((2, 3), keepdim=True).mean((2, 3, 4)),
    "logsumexp": lambda y: torch.logsumexp(y, 2).mean((2, 3)),
    "logsumexp of all": lambda y: torch.logsumexp(y, (2, 3, 4)),
    "product": lambda y: y.mean((3, 4)).prod(2),
    "length": lambda y: y.norm(dim=2).mean((2, 3)),
    "sum of magnitudes": lambda y: torch.linalg.vector_norm(y, 1, 2).mean((2, 3)),
    "mean and deviation": lambda y: torch.cat([y.mean((2, 3, 4)), y.mean((3, 4)).std(2)], 1),
}


def make(function: Function) -> nn.Module:
    torch.manual_seed(0)
    return Apply(lambda m, x: function(m.stem(x)), stem=stem()).double().eval()


@pytest.mark.parametrize("name", FRAMEWISE)
def test_steps_equal_clips(name: str) -> None:
    model = make(FRAMEWISE[name])
    program = convert(model, SHAPE, edges="both")
    assert program.approximations == program.fallbacks == ()
    assert worst_error(model, program, (8, 5, 11), time_axis=1) < 1e-10


@pytest.mark.parametrize("name", OVER_TIME)
def test_statistics_over_time_equal_clips(name: str) -> None:
    model = make(OVER_TIME[name])
    program = convert(model, SHAPE, edges="both")
    assert program.approximations == program.fallbacks == ()
    assert program.window == 8
    assert worst_error(model, program, (8, 5, 3)) < 1e-10


@pytest.mark.parametrize("name", ["variance", "deviation of all", "logsumexp", "length"])
def test_statistics_over_a_strided_clip(name: str) -> None:
    torch.manual_seed(0)
    strided = nn.Sequential(stem(), nn.Conv3d(4, 4, 3, (2, 1, 1), 1))
    model = Apply(lambda m, x: OVER_TIME[name](m.strided(x)), strided=strided).double().eval()
    for rate in ("dense", "native"):
        program = convert(model, SHAPE, edges="both", rate=rate)  # type: ignore[arg-type]
        assert worst_error(model, program, (8, 4)) < 1e-10


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda y: y.topk(2, 2).values, "acts along time"),
        (lambda y: y.roll(1, 2), "acts along time"),
        (lambda y: y.roll(1), "all axes"),
        (lambda y: y.sort(0).values, "batch"),
        (lambda y: torch.einsum("ncthw,ndthw->ncd", y, y), "sums over time"),
        (lambda y: torch.einsum("ncthw,mcthw->nmthw", y, y), "sums over the batch"),
        (lambda y: torch.einsum("ncthw,t->ncthw", y, torch.arange(8.0)), "sums over time"),
        (lambda y: torch.einsum("...hw,hw->...", y, torch.ones(6, 6)), "unnamed"),
        (
            lambda y: F.max_unpool3d(*F.max_pool3d(y, 2, return_indices=True), 2),
            "no rule",
        ),
        (
            lambda y: unfold(torch.bmm(fold(y).flatten(2), torch.rand(16, 36, 36)), y).view_as(y),
            "another value for every frame",
        ),
        (lambda y: torch.linalg.vector_norm(y, -1, 2), "order"),
        (lambda y: y * y.var((2, 3, 4), keepdim=True), "gate"),
        (lambda y: torch.cat([y, torch.rand(2, 1, 8, 6, 6)], 1), "constant"),
    ],
)
def test_lookalikes_are_refused(function: Function, reason: str) -> None:
    model = Apply(lambda m, x: function(m.stem(x)), stem=stem()).eval()
    with pytest.raises(ConversionError, match=reason):
        convert(model, SHAPE)


def test_a_write_into_a_frame_is_refused() -> None:
    def write(y: Tensor) -> Tensor:
        y = y.clone()
        y[:, :, 2] = y[:, :, 3]
        return y

    with pytest.raises(ConversionError, match="it concatenates along time"):
        convert(Apply(lambda m, x: write(m.stem(x)), stem=stem()), SHAPE)
