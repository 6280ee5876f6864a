"""Every registered network frame by frame equals itself on the clip.

Where a stream cannot be exact (gates pooled over the clip, SlowFast's uneven frame picking) the
reference has the same approximation, written by hand.
"""

import pytest
import torch

from co3d.compiler import convert
from co3d.models import create_model
from co3d.models.gates import SqueezeExcite
from support.clip_references import make_reference
from support.registry import STEPPED, short_clip_frames
from support.streaming import make_clips, randomise_, relative_error, run_steps

SIDE = 33  # odd, and small enough to be quick
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
# The others take up to half a minute each; `test_third_party.py` has small ones like them.
QUICK = {
    ("camera_motion", torch.float32),
    ("camera_motion", torch.float64),
    ("i3d_r50", torch.float64),
    ("x3d_xs", torch.float32),  # depthwise convolutions of doubles are slow
}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        pytest.param(name, dtype, marks=[] if (name, dtype) in QUICK else [pytest.mark.slow])
        for name in STEPPED
        for dtype in TOLERANCE
    ],
)
def test_steps_and_flush_equal_the_clip(
    name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = randomise_(create_model(name, weights="random")).double()
    frames, side = short_clip_frames(model.card), max(SIDE, model.min_side_px)
    program = convert(model, (3, frames, side, side), edges="both")
    reference = make_reference(model, monkeypatch)
    # Ragged, in one batch; a clip of another length has the same last phase of every stride.
    stride = program.temporal_stride
    lengths = [frames, max(1, frames - 3) if stride == 1 else frames - stride]
    clips = make_clips(lengths, program.frame_shape, dtype)
    network = reference.to(dtype)
    for clip, outputs in zip(clips, run_steps(program, clips, dtype), strict=True):
        with torch.inference_mode():
            expected = network(clip[None])[0]
        assert relative_error(outputs[-1], expected) <= TOLERANCE[dtype]


@pytest.mark.parametrize(
    "name", ["x3d_xs", pytest.param("slowfast_r50_8x8", marks=pytest.mark.slow)]
)
def test_approximations_are_listed_and_differ_from_the_original(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = randomise_(create_model(name, weights="random")).double()
    frames = model.card.clip_frames
    program = convert(model, (3, frames, SIDE, SIDE), edges="none")
    gates = sum(isinstance(module, SqueezeExcite) for module in model.modules())
    assert len(program.approximations) == (gates or 1)
    (clip,) = make_clips([frames], program.frame_shape, torch.float64)
    with torch.inference_mode():
        original = model(clip[None])
        rewritten = program.clip_graph(clip[None])
        expected = make_reference(model, monkeypatch)(clip[None])
    assert relative_error(rewritten, expected) <= 1e-10
    assert 1e-6 < relative_error(rewritten, original) < 0.5
