"""Networks that only other libraries have, with one block a stage: steps equal the clip."""

import pytest
import torch

from co3d.compiler import convert
from co3d.models import create_model
from co3d.models.resnet3d import STAGE_DEPTHS
from support.streaming import make_clips, randomise_, relative_error, run_steps

SIDE_PX, CLASSES, TOLERANCE = 32, 5, 1e-10


@pytest.mark.parametrize(
    ("name", "frames"),
    [("slowfast_r50_8x8_mmaction", 8), ("r2plus1d_r34_8x8", 8), ("r2plus1d_r50", 8)],
)
def test_steps_equal_the_clip_without_an_approximation(
    name: str, frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for depth in STAGE_DEPTHS:
        monkeypatch.setitem(STAGE_DEPTHS, depth, (1, 1, 1, 1))
    torch.manual_seed(0)
    model = randomise_(create_model(name, weights="random", num_classes=CLASSES)).double()
    program = convert(model, (3, frames, SIDE_PX, SIDE_PX), edges="both")
    assert program.approximations == ()
    (clip,) = make_clips([frames], program.frame_shape, torch.float64)
    (outputs,) = run_steps(program, [clip], torch.float64)
    with torch.inference_mode():
        assert relative_error(outputs[-1], model(clip[None])[0]) <= TOLERANCE
