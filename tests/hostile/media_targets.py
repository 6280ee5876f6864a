"""Readers of media, fed with bytes of anybody: what they raise must be typed."""

from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
from PIL import Image

from co3d.datasets.doctor import examine
from co3d.errors import Co3dError
from co3d.video import VideoLimits, read_video
from co3d.video.indexed_opening import open_indexed_video

SIDE, FRAMES = 32, 6
LIMITS = VideoLimits(pixels=2**22, frames=1000, held_seconds=10)

CODECS = {
    "mp4": "libx264",
    "mov": "mpeg4",
    "mkv": "libx264",
    "avi": "mpeg4",
    "flv": "flv",
    "ts": "libx264",
    "webm": "libvpx",
    "gif": "gif",
    "h264": "libx264",
    "mpg": "mpeg1video",
}
"""Suffix of a sample -> its codec."""

PICTURES = ("png", "jpeg", "bmp", "tiff", "webp")


def make_sample(suffix: str) -> bytes:
    """A few frames of a small film, or a picture."""
    buffer = BytesIO()
    if suffix not in CODECS:
        Image.fromarray(_picture(0)).save(buffer, suffix)
        return buffer.getvalue()
    kind = {"mkv": "matroska", "ts": "mpegts", "mpg": "mpeg"}.get(suffix, suffix)
    with av.open(buffer, "w", format=kind) as container:
        stream = container.add_stream(CODECS[suffix], rate=25)
        stream.width, stream.height = SIDE, SIDE
        stream.pix_fmt = "rgb8" if suffix == "gif" else "yuv420p"
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(_picture(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _picture(number: int) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    grey = (8 * rows + 5 * columns + 9 * number) % 256
    return np.repeat(grey[:, :, None], 3, 2).astype(np.uint8)


def mutate(data: bytes, random: np.random.Generator) -> bytes:
    """One to eight changes: bytes, sizes, parts cut out, moved or doubled, an end cut off."""
    changed = bytearray(data)
    for _ in range(random.integers(1, 9)):
        place = int(random.integers(0, len(changed) + 1))
        length = int(2 ** random.uniform(0, 8))
        part = changed[place : place + length]
        match random.integers(0, 6):
            case 0:
                changed[place : place + 1] = random.bytes(1)
            case 1:
                value = random.choice([0, 1, 2**7, 2**15, 2**31 - 1, 2**32 - 1, len(data)])
                order = "big" if random.integers(2) else "little"
                changed[place : place + 4] = int(value).to_bytes(4, order)
            case 2:
                del changed[place : place + length]
            case 3:
                other = int(random.integers(0, len(changed) + 1))
                changed[other:other] = part
            case 4:
                changed[place : place + length] = random.bytes(len(part))
            case _:
                if random.integers(4) == 0:
                    del changed[max(place, 16) :]
    return bytes(changed)


def read_as_file(data: bytes, folder: Path) -> None:
    """Play it, all its frames and sampled."""
    path = _write(data, folder / "film.bin")
    for rate_hz in (None, 30.0):
        with suppress(Co3dError), read_video(path, rate_hz=rate_hz, limits=LIMITS) as reader:
            for _ in reader:
                pass


def read_by_index(data: bytes, folder: Path) -> None:
    """Read frames from its end, middle and start."""
    path = _write(data, folder / "film.bin")
    with suppress(Co3dError):
        video = open_indexed_video(path, threads=2, limits=LIMITS)
        try:
            last = len(video.times_seconds) - 1
            for clip in ([last], [last // 2, last], [0, last]):
                with suppress(Co3dError):
                    video.read(clip)
        finally:
            video.close()


def read_as_picture(data: bytes, folder: Path) -> None:
    """Read it as the one picture of a folder."""
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    _write(data, pictures / "1.png")
    with suppress(Co3dError), read_video(pictures, limits=LIMITS) as reader:
        for _ in reader:
            pass


def examine_it(data: bytes, folder: Path) -> None:
    """Examine it as the doctor does."""
    examine(_write(data, folder / "film.bin"))


def _write(data: bytes, path: Path) -> Path:
    path.write_bytes(data)
    return path


TARGETS: dict[str, Callable[[bytes, Path], None]] = {
    "media file": read_as_file,
    "media by index": read_by_index,
    "picture": read_as_picture,
    "examination": examine_it,
}


def choose_targets(suffix: str) -> list[str]:
    """The readers that a mutated sample of this kind is for."""
    return [name for name in TARGETS if (name == "picture") == (suffix in PICTURES)]
