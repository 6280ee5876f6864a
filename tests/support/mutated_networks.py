"""Networks that test one rule alone, and that no other test needs."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from support.networks import Apply, Residual, stem

Join = Callable[[Tensor], Tensor]


def whole_clip(join: Join) -> nn.Module:
    """A convolution as long as the clip, whose one element loses its time axis."""
    return Apply(
        lambda m, x: join(m.whole(m.stem(x))), stem=stem(), whole=nn.Conv3d(4, 5, (8, 6, 6))
    )


def scores_of_two_rates() -> nn.Module:
    """Pools of a slow and a fast pathway, of which neither stands for the other."""
    return Apply(
        lambda m, x: (
            m.slow(x[:, :, ::4]).mean((2, 3, 4)) - m.deep(m.fast(x)).mean((2, 3, 4)).square()
        ),
        slow=stem(),
        fast=stem(),
        deep=nn.Conv3d(4, 4, (5, 1, 1), padding=(2, 0, 0)),
    )


def gate() -> nn.Module:
    """A gate that a shifted window changes visibly."""
    return Apply(
        lambda m, x: m.stem(x) * (20 * m.stem(x).mean((2, 3, 4), keepdim=True)).sin(), stem=stem()
    )


def norm() -> nn.Module:
    """A norm of features whose level changes from frame to frame."""
    return Apply(
        lambda m, x: m.norm(m.stem(x) + 3 * x.mean((1, 3, 4), keepdim=True)),
        stem=stem(),
        norm=nn.InstanceNorm3d(4),
    )


def attention(*, counts: bool = False) -> nn.Module:
    """Frames that attend to each other, and little to themselves."""

    def attend(m: nn.Module, x: Tensor) -> Tensor:
        y = m.stem(x).mean((3, 4)).transpose(1, 2)
        weights = -9 * y @ y.transpose(1, 2)
        weights = weights / 8 if counts else weights.softmax(-1)
        return (weights @ y).transpose(1, 2)

    return Apply(attend, stem=stem())


def strided_residuals() -> nn.Module:
    """Blocks behind a stride, whose work can wait for the frames in between."""
    return nn.Sequential(stem(), nn.Conv3d(4, 4, 3, (4, 1, 1), 1), Residual(), Residual())


def rerun() -> nn.Module:
    """A weight for every frame of the clip, and then a convolution that is rerun as well."""
    return Apply(
        lambda m, x: m.fc(m.deep(m.stem(x) * torch.arange(1.0, 9.0).view(8, 1, 1)).mean((2, 3, 4))),
        stem=stem(),
        deep=nn.Conv3d(4, 4, (3, 1, 1), padding=(1, 0, 0)),
        fc=nn.Linear(4, 5),
    )
