"""TSM and MoViNet against frame-by-frame networks written from their papers, and their files."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from co3d.compiler import StepProgram, convert
from co3d.models import create_model
from co3d.models.temporal_shift import shift_both_ways, shift_from_past
from co3d.runtime import open_stream
from support.streaming import randomise_, relative_error
from support.third_party.movinet_port import MoViNetA0
from support.third_party.tsm_mobilenet import OnlineMobileNet

TOLERANCE = 1e-5
CLASSES = 5


def load(name: str, state: dict[str, Tensor], folder: Path) -> nn.Module:
    torch.save(state, folder / "theirs.pth")
    return create_model(name, weights=folder / "theirs.pth")


def step(program: StepProgram, clip: Tensor) -> Tensor:
    """The results of all frames of a clip (1, C, T, H, W): (T, K)."""
    stream = open_stream(program, backend="torch")
    return torch.cat([stream.step(frame).output for frame in clip.unbind(2)])


def test_channels_come_from_the_next_and_the_previous_frame() -> None:
    clip = torch.arange(16 * 4, dtype=torch.float).view(1, 16, 4, 1, 1)
    both, past = shift_both_ways(clip), shift_from_past(clip)
    for t in range(4):
        ahead = clip[:, :2, t + 1] if t < 3 else torch.zeros(1, 2, 1, 1)
        behind = clip[:, :4, t - 1] if t else torch.zeros(1, 4, 1, 1)
        assert torch.equal(both[:, :, t], torch.cat((ahead, behind[:, 2:], clip[:, 4:, t]), 1))
        assert torch.equal(past[:, :, t], torch.cat((behind[:, :2], clip[:, 2:, t]), 1))
    assert shift_both_ways(clip[:, :, :1])[:, :4].count_nonzero() == 0


@pytest.mark.slow
def test_online_tsm_equals_its_authors_implementation(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = randomise_(OnlineMobileNet(CLASSES))
    ours = load("tsm_mobilenet_v2_online", theirs.state_dict(), tmp_path)
    program = convert(ours, (3, 4, 32, 32), window=1)
    assert program.delay == 0
    assert not program.approximations
    clip = torch.randn(1, 3, 6, 32, 32)
    with torch.inference_mode():
        expected = torch.cat([theirs(frame) for frame in clip.unbind(2)])
        assert relative_error(ours(clip)[0], expected.mean(0)) <= TOLERANCE
    assert relative_error(step(program, clip), expected) <= TOLERANCE


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("size", [(32, 32), (43, 54)])
def test_movinet_equals_a_network_written_from_the_paper(
    stream: bool, size: tuple[int, int], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    theirs = randomise_(MoViNetA0(stream, CLASSES))
    ours = load("movinet_a0_stream" if stream else "movinet_a0", theirs.state_dict(), tmp_path)
    clip = torch.randn(1, 3, 6, *size)
    with torch.inference_mode():
        assert relative_error(ours(clip), theirs(clip)) <= TOLERANCE


@pytest.mark.slow
def test_movinet_streams_equal_clips_without_delay(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = randomise_(MoViNetA0(True, CLASSES))
    ours = load("movinet_a0_stream", theirs.state_dict(), tmp_path)
    program = convert(ours, (3, 5, 32, 32))
    assert program.delay == 0
    assert program.receptive_field is None
    assert not program.approximations
    clip = torch.randn(1, 3, 7, 32, 32)
    steps = step(program, clip)
    with torch.inference_mode():
        for length in (1, 4, 7):
            expected = ours(clip[:, :, :length])[0]
            assert relative_error(steps[length - 1], expected) <= TOLERANCE
