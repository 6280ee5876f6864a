"""Trap: networks with default initialisation give nearly the same output for any input.

Then a wrong program equals the right one to many digits. The outputs that tests compare must differ
between models, clips and orders of frames by far more than the tolerance.
"""

import pytest
import torch
from torch import Tensor

from co3d.models import create_model
from support.streaming import make_clips, randomise_, relative_error

# Tests of registered models tolerate 1e-5 in single precision.
TELLING = 1e-3


def _answer(name: str, clip: Tensor, seed: int, *, randomised: bool = True) -> Tensor:
    torch.manual_seed(seed)
    model = create_model(name, weights="random").eval()
    if randomised:
        randomise_(model, seed)
    with torch.inference_mode():
        return model(clip[None])[0]


def _clip(name: str, seed: int = 1) -> Tensor:
    side = 64 if name == "x3d_xs" else 32
    (clip,) = make_clips([8], (3, side, side), torch.float32, seed)
    return clip


@pytest.mark.parametrize("name", ["x3d_xs", "r2plus1d_18"])
def test_randomised_networks_distinguish_models_clips_and_orders(name: str) -> None:
    clip = _clip(name)
    answer = _answer(name, clip, 0)
    assert relative_error(_answer(name, clip, 1).softmax(-1), answer.softmax(-1)) > 0.1
    assert relative_error(_answer(name, _clip(name, 2), 0), answer) > TELLING
    assert relative_error(_answer(name, clip.flip(1), 0), answer) > TELLING


def test_networks_as_initialised_do_not_distinguish_them() -> None:
    """The reason why tests randomise networks."""
    clip = _clip("x3d_xs")
    fresh, other = (_answer("x3d_xs", clip, s, randomised=False).softmax(-1) for s in (0, 1))
    assert relative_error(fresh, other) < 0.1
