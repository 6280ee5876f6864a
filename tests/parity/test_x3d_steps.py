"""X3D's features before the final pool: every frame of a clip, and the interior of a long one."""

import pytest
import torch
from torch import Tensor, nn

from co3d.compiler import convert
from co3d.models import create_model
from support.streaming import make_clips, randomise_, relative_error, run_steps

SIDE = 33
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


class Features(nn.Module):
    """The input of an X3D's final pool, per frame."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.stem, self.stages, self.head = model.stem, model.stages, model.head

    def forward(self, clip: Tensor) -> Tensor:
        return self.head.expand_norm(self.head.expand(self.stages(self.stem(clip)))).relu()


@pytest.fixture(scope="module")
def trunk() -> nn.Module:
    torch.manual_seed(0)
    return Features(randomise_(create_model("x3d_xs", weights="random"))).double()


@pytest.mark.slow
def test_features_of_every_frame_equal_the_clip(trunk: nn.Module) -> None:
    program = convert(trunk, (3, 13, SIDE, SIDE), edges="both")
    for dtype, tolerance in TOLERANCE.items():
        (clip,) = make_clips([13], program.frame_shape, dtype)
        (outputs,) = run_steps(program, [clip], dtype)
        with torch.inference_mode():
            expected = program.clip_graph.to(dtype)(clip[None])[0]
        actual = torch.stack(outputs[program.delay :], 1)
        assert relative_error(actual, expected) <= tolerance


@pytest.mark.slow
def test_features_without_edges_equal_the_interior_of_a_long_clip(trunk: nn.Module) -> None:
    program = convert(trunk, (3, 64, SIDE, SIDE), edges="none")
    (clip,) = make_clips([64], program.frame_shape, torch.float64)
    (outputs,) = run_steps(program, [clip])
    with torch.inference_mode():
        expected = program.clip_graph(clip[None])[0]
    settled = range(program.receptive_field - 1, 64)
    assert len(settled) >= 5
    for step in settled:
        assert relative_error(outputs[step], expected[:, step - program.delay]) <= 1e-10
