"""Small videos with a picture that moves, and their damaged copies."""

from contextlib import suppress
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from PIL import Image

from co3d.video import VideoReader, VideoWriter, read_video


def drifting_picture(number: int, size: tuple[int, int] = (96, 64)) -> np.ndarray:
    """Frame `number` of a smooth random picture that drifts to the left."""
    left = (number * 3) % (size[0] * 3)
    return _wide_picture(*size)[:, left : left + size[0]].copy()


@cache
def _wide_picture(width: int, height: int) -> np.ndarray:
    coarse = np.random.default_rng(7).integers(0, 255, (12, 40, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width * 4, height), Image.Resampling.BICUBIC))


def write_video(
    path: Path, frames: int, *, rate_hz: float = 16.0, size: tuple[int, int] = (96, 64)
) -> Path:
    with VideoWriter(path, rate_hz=rate_hz) as writer:
        for number in range(frames):
            writer.write(drifting_picture(number, size), number / rate_hz)
    return path


def write_video_with_gap(path: Path, gap_seconds: float) -> Path:
    """Three seconds at 16 frames a second, a gap, and three more."""
    with VideoWriter(path, rate_hz=16) as writer:
        for number in range(96):
            writer.write(drifting_picture(number), number / 16 + gap_seconds * (number >= 48))
    return path


def make_broadcast(path: Path, frames: int) -> bytes:
    """Frames at 16 per second, in a container that states no length."""
    options = {"flvflags": "no_duration_filesize"}
    with av.open(str(path), "w", "flv", options=options) as container:
        stream = container.add_stream("libx264", rate=16, options={"g": "8"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(drifting_picture(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 16)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def cut_short(source: Path, target: Path, share: float = 0.6) -> Path:
    """A copy whose last bytes are missing, as after a broken download."""
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def list_decodable_times(path: Path) -> list[float]:
    """Seconds of the frames that FFmpeg's decoder gives of a file, up to where it breaks off."""
    times: list[float] = []
    with av.open(str(path)) as container, suppress(av.error.FFmpegError):
        times.extend(frame.time for frame in container.decode(video=0) if frame.time is not None)
    return times


def open_reader(path: Path, rate_hz: float | None = 8.0) -> VideoReader:
    return read_video(path, rate_hz=rate_hz)


def make_transport_stream(
    path: Path, frames: int, *, start_seconds: float = 0.0, size: tuple[int, int] = (96, 64)
) -> bytes:
    """Frames at 16 per second from a time on; parts of other times and sizes may follow."""
    with av.open(str(path), "w", "mpegts") as container:
        stream = container.add_stream("libx264", rate=16, options={"g": "8", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(drifting_picture(number, size), format="rgb24")
            frame.pts, frame.time_base = round(16 * start_seconds) + number, Fraction(1, 16)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()
