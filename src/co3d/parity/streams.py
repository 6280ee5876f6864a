"""Streams to compare precisions on: videos, and films of a virtual camera."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import resources
from pathlib import Path

import torch.nn.functional as F
from torch import Generator, Tensor

from co3d.datasets.generated.camera_motion import RATE_HZ, film
from co3d.datasets.generated.canvases import build_canvases
from co3d.datasets.generated.journeys import draw_journeys
from co3d.errors import InputShapeError
from co3d.models import ModelCard
from co3d.video import read_video

# For networks without a card: the preprocessing of most networks trained on Kinetics.
USUAL_CARD = ModelCard(
    name="",
    clip_frames=16,
    rate_hz=8.0,
    crop_px=224,
    short_side_px=256,
    mean=(0.45, 0.45, 0.45),
    std=(0.225, 0.225, 0.225),
)
JOURNEY_SECONDS = 30
JOURNEYS_AT_ONCE = 6  # filmed as one batch, since effects apply to some items of a batch
# Only a part of the test split's canvases is built, which is faster.
CROPS_PER_PHOTOGRAPH, TEXTURES_PER_KIND = 8, 8


@dataclass(frozen=True)
class FrameStream:
    """A video as preprocessed frames.

    Attributes:
        name: for reports.
        open: opens it from the start; yields frames (1, 3, H, W) float32.
    """

    name: str
    open: Callable[[], Iterator[Tensor]]


def stream_video_file(
    path: str | Path, card: ModelCard, frame_shapes: Sequence[tuple[int, ...]]
) -> FrameStream:
    """A video file, sampled and preprocessed as the card says, and scaled to the frame shape.

    Raises:
        InputShapeError: the network does not take one input of three channels.
    """
    if len(frame_shapes) != 1 or frame_shapes[0][0] != 3:
        raise InputShapeError(
            f"cannot show videos to this network: got frames {list(frame_shapes)}, expected one "
            "input of 3 channels; compare its precisions on frames of your own in Python"
        )
    size = frame_shapes[0][1:]

    def frames() -> Iterator[Tensor]:
        with read_video(path, rate_hz=card.rate_hz) as video:
            for frame in video:
                picture = card.preprocess(frame.image)
                if tuple(picture.shape[2:]) != size:
                    picture = F.interpolate(picture, size, mode="bilinear", antialias=True)
                yield picture

    return FrameStream(Path(path).name, frames)


def stream_sample(card: ModelCard, frame_shapes: Sequence[tuple[int, ...]]) -> FrameStream:
    """The sample video of the package."""
    with resources.as_file(resources.files("co3d") / "assets" / "sample.mp4") as path:
        return stream_video_file(path, card, frame_shapes)


def film_journeys(count: int, seed: int = 7) -> list[FrameStream]:
    """Streams of 30 s for `camera_motion`: journeys of a virtual camera over its test split.

    Raises:
        SourceNotFoundError: the packages that ship the photographs are not installed.
    """
    canvases = build_canvases(
        "test", crops_per_photograph=CROPS_PER_PHOTOGRAPH, textures_per_kind=TEXTURES_PER_KIND
    )

    @lru_cache(maxsize=1)
    def shoot(group: int) -> Tensor:
        generator = Generator().manual_seed(seed * 1000 + group)
        frames = round(JOURNEY_SECONDS * RATE_HZ)
        path, _ = draw_journeys(JOURNEYS_AT_ONCE, frames, RATE_HZ, generator)
        return film(canvases, path, generator)

    def play(number: int) -> Iterator[Tensor]:
        group, row = divmod(number, JOURNEYS_AT_ONCE)
        yield from shoot(group)[row : row + 1].unbind(2)

    return [
        FrameStream(f"virtual camera {number + 1}", partial(play, number))
        for number in range(count)
    ]
