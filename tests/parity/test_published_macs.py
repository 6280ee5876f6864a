"""Multiply-accumulates and parameters of the paper's networks at their published crops.

The bounds are what a hand-written network would need (arXiv:2106.00050, table of Kinetics results).
"""

import pytest
import torch

from co3d.compiler import convert
from co3d.models import create_model
from co3d.runtime import open_stream

BOUNDS_GMACS = {
    ("x3d_s", 160): 0.155,
    ("x3d_m", 224): 0.300,
    ("x3d_l", 312): 1.155,
    ("slow_r50", 256): 6.85,
    ("i3d_r50", 224): 5.7,
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "side"), BOUNDS_GMACS)
def test_macs_per_frame_are_within_the_published_bounds(name: str, side: int) -> None:
    model = create_model(name, weights="random")
    program = convert(model, (3, model.card.clip_frames, side, side), window=64)
    assert 0 < program.macs_per_frame / 1e9 <= BOUNDS_GMACS[name, side]


@pytest.mark.slow
def test_ten_thousand_steps_do_not_drift() -> None:
    """A long stream equals a stream that has just filled its window with the same frames."""
    torch.manual_seed(0)
    model = create_model("camera_motion")
    program = convert(model, model.card.clip_shape)
    old, young = open_stream(program), open_stream(program)
    generator = torch.Generator().manual_seed(0)
    for step in range(10_000):
        frame = torch.randn(1, *program.frame_shape, generator=generator)
        result = old.step(frame)
        if step >= 10_000 - program.receptive_field:
            expected = young.step(frame)
    assert torch.equal(result.output, expected.output)
