"""Trap: the batch axis cannot be found by its size, as time may be a multiple of the batch too."""

import pytest
import torch
from torch import Tensor, nn

import co3d
from co3d.compiler import convert
from support.streaming import make_clips, relative_error, run_steps


class Attention(nn.Module):
    """Attention over time, which puts time first inside."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 8, 3, padding=1)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        frames = self.conv(x).mean((-2, -1)).transpose(1, 2)
        frames, _ = self.attention(frames, frames, frames)
        return self.fc(frames.mean(1))


@pytest.mark.parametrize("frames", [7, 8, 9, 10, 12])
def test_attention_over_clips_of_any_length_is_rerun(frames: int) -> None:
    torch.manual_seed(0)
    model = Attention().double().eval()
    program = convert(model, (3, frames, 4, 4), fallback=True, edges="both")
    clips = make_clips([frames] * 3, (3, 4, 4), torch.float64)
    for outputs, clip in zip(run_steps(program, clips), clips, strict=True):
        with torch.inference_mode():
            expected = model(clip[None])[0]
        assert outputs[-1].shape == expected.shape
        assert relative_error(outputs[-1], expected) < 1e-10


@pytest.mark.parametrize("frames", [7, 8])
def test_attention_over_clips_of_any_length_verifies(frames: int) -> None:
    torch.manual_seed(0)
    found = co3d.verify(Attention(), (3, frames, 4, 4), fallback=True, lengths=[])
    found.require()
