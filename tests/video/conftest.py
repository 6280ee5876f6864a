"""Videos made on the spot: every frame is one grey level, which tells its number."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from co3d.errors import Co3dError
from co3d.video import VideoFrame, VideoReader, back_off

GREY_STEP = 4
TICKS_PER_SECOND = 600


def grey_picture(number: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    width, height = size
    return np.full((height, width, 3), 10 + GREY_STEP * number, np.uint8)


def frame_number(image: np.ndarray) -> int:
    return round((float(image.mean()) - 10) / GREY_STEP)


def make_video(
    path: Path,
    times: Sequence[float] | int = 20,
    *,
    codec: str = "libx264",
    size: tuple[int, int] = (64, 48),
    noise: bool = False,
    seed: int = 0,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write one frame per time in seconds; a number means that many frames at 20/s."""
    if isinstance(times, int):
        times = [number / 20 for number in range(times)]
    random = np.random.default_rng(seed)
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=20, options=options or {})
        stream.width, stream.height, stream.pix_fmt = size[0], size[1], "yuv420p"
        stream.codec_context.gop_size = 10
        if codec != "mpeg4":
            stream.codec_context.time_base = Fraction(1, TICKS_PER_SECOND)
        for number, seconds in enumerate(times):
            image = grey_picture(number, size)
            if noise:
                image = random.integers(0, 255, image.shape, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = round(seconds / stream.codec_context.time_base)
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def drain_reader(reader: VideoReader) -> tuple[list[VideoFrame], Co3dError | None]:
    """All frames that come, and the error that follows the last of them, if any."""
    frames = []
    try:
        for frame in reader:
            frames.append(frame)  # kept even if the next one raises
    except Co3dError as error:
        return frames, error
    return frames, None


@pytest.fixture(scope="session")
def video_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty frames at 20 per second, H.264 with B frames, 64x48."""
    return make_video(tmp_path_factory.mktemp("video") / "plain.mp4", options={"bf": "2"})


@pytest.fixture(scope="session")
def make() -> Callable[..., Path]:
    return make_video


@pytest.fixture(scope="session")
def number_of() -> Callable[[np.ndarray], int]:
    return frame_number


@pytest.fixture(scope="session")
def picture() -> Callable[..., np.ndarray]:
    return grey_picture


@pytest.fixture(scope="session")
def drain() -> Callable[[VideoReader], tuple[list[VideoFrame], Co3dError | None]]:
    return drain_reader


@pytest.fixture
def quick_retries(monkeypatch) -> None:
    """Servers that are away are tried again at once."""
    monkeypatch.setattr(back_off, "FIRST_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(back_off, "LAST_RETRY_SECONDS", 0.1)


@pytest.fixture(scope="module")
def broadcast(tmp_path_factory, make) -> bytes:
    """Twenty frames of a container that states no length."""
    path = tmp_path_factory.mktemp("broadcast") / "live.flv"
    options = {"flvflags": "no_duration_filesize"}
    return make(path, 20, noise=True, container_options=options).read_bytes()
