"""Hand-written attention in pictures, with queries, keys and values from one layer."""

import pytest
import torch
from torch import Tensor, nn

from co3d.compiler import convert
from co3d.errors import ConversionError
from support.networks import Apply, stem
from support.streaming import randomise_, worst_error


def attend(m: nn.Module, x: Tensor) -> Tensor:
    y = m.stem(x)
    n, c, t, h, w = y.shape
    tokens = y.permute(0, 2, 3, 4, 1).reshape(n * t, h * w, c)
    qkv = m.qkv(tokens).reshape(n * t, h * w, 3, 2, c // 2).permute(2, 0, 3, 1, 4)
    query, key, value = qkv.unbind(0)
    mixed = (query @ key.transpose(-2, -1)).softmax(-1) @ value
    made = mixed.transpose(1, 2).reshape(n * t, h * w, c)
    return made.view(n, t, h * w, c).mean(2).transpose(1, 2)


def test_steps_equal_clips() -> None:
    torch.manual_seed(0)
    model = randomise_(Apply(attend, stem=stem(), qkv=nn.Linear(4, 12))).double()
    program = convert(model, (3, 8, 4, 4), edges="both")
    assert worst_error(model, program, [8, 5, 1], time_axis=1) <= 1e-10


def test_a_selection_from_the_batch_is_refused() -> None:
    model = Apply(lambda m, x: m.stem(x).permute(1, 0, 2, 3, 4)[:, 0], stem=stem())
    with pytest.raises(ConversionError, match="batch axis"):
        convert(model, (3, 8, 4, 4))
