"""Frames of a folder of pictures, in natural order of their names."""

import re
from collections.abc import Iterator
from io import BytesIO
from itertools import takewhile
from pathlib import Path

import av
from av.error import FFmpegError

from co3d.errors import EmptyVideoError, NotAVideoError, NoVideoStreamError
from co3d.video.access import MEMORY_OPTIONS
from co3d.video.container import choose_stream, open_media
from co3d.video.damage import Damage
from co3d.video.delivery import deliver
from co3d.video.frame import VideoFrame
from co3d.video.irregularities import Irregularities
from co3d.video.limits import DEFAULT_LIMITS, VideoLimits
from co3d.video.picture import DecodedFrame, DecodedListener, upright_size
from co3d.video.source import SourceInfo
from co3d.video.turns import decoding_turns

PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


class FolderSource:
    """Pictures of one size in one folder as a `FrameSource`; other files are ignored.

    Picture `n` in natural order ("frame2" before "frame10") is shown at `n / rate_hz` seconds. A
    picture that does not decode counts as lost.

    Raises:
        EmptyVideoError: no file in the folder is a picture, or none decodes.
        NotAVideoError: a picture's size differs from the first one's (raised when it is reached).
    """

    dropped_frames = 0
    notices = ()
    shows_decoded = True
    elsewhere_seconds = 0.0
    irregularities = Irregularities()

    def __init__(self, folder: Path, rate_hz: float, limits: VideoLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        paths = list_pictures(folder)
        if not paths:
            raise EmptyVideoError(
                f"cannot read {folder}: it holds no pictures; expected files that end in "
                f"{', '.join(sorted(PICTURE_SUFFIXES))}"
            )
        limits.check_frames(len(paths), str(folder))
        decoded = (decode_picture(path, limits) for path in paths)
        first = next((frame for frame in decoded if frame is not None), None)
        if first is None:
            raise EmptyVideoError(
                f"cannot read {folder}: none of its {len(paths)} pictures decodes with at most "
                f"{limits.pixels} pixels; make them again"
            )
        width, height = upright_size(first)
        duration_seconds = len(paths) / rate_hz
        self.info = SourceInfo(
            str(folder), False, rate_hz, width, height, len(paths), duration_seconds
        )
        self.pace = self.info.make_pace()
        self.damage: Damage | None = None
        self._paths = paths
        self._lost_seconds: list[float] = []
        self._stopped = False

    def frames(
        self,
        rate_hz: float | None,
        *,
        fill_gaps: bool,
        on_decoded: DecodedListener | None = None,
    ) -> Iterator[VideoFrame]:
        """Pictures of the folder, sampled to `rate_hz`; DamagedVideoError after the last."""
        decoded = takewhile(lambda _: not self._stopped, self._decode_all())
        yield from deliver(
            decoded,
            self.info,
            self.pace,
            rate_hz,
            fill_gaps=fill_gaps,
            limits=self._limits,
            on_decoded=on_decoded,
        )
        if self._stopped or not self._lost_seconds:
            return
        lost = len(self._lost_seconds)
        self.damage = Damage(len(self._paths) - lost, lost, self._lost_seconds[0])
        raise self.damage.to_error(self.info.name)

    def stop(self) -> None:
        """End the iteration at its next picture."""
        self._stopped = True

    def close(self) -> None:
        """Forget the pictures; no file is open between two of them."""
        self._paths = []

    def _decode_all(self) -> Iterator[DecodedFrame]:
        size = (self.info.width, self.info.height)
        index = 0
        for position, path in enumerate(self._paths):
            pts_seconds = position / (self.info.rate_hz or 1.0)
            frame = decode_picture(path, self._limits)
            if frame is None:
                self._lost_seconds.append(pts_seconds)
                continue
            if upright_size(frame) != size:
                got = "x".join(map(str, upright_size(frame)))
                raise NotAVideoError(
                    f"{self.info.name} is not one video: {path.name} is {got}, expected "
                    f"{size[0]}x{size[1]} like the first picture; scale it or take it out"
                )
            yield DecodedFrame(frame, pts_seconds, index)
            index += 1


def list_pictures(folder: Path) -> list[Path]:
    """Pictures in a folder in natural order; no hidden files, pipes or devices."""
    return sorted(
        (
            path
            for path in folder.iterdir()
            if path.suffix.lower() in PICTURE_SUFFIXES
            and not path.name.startswith(".")
            and path.is_file()
        ),
        key=_natural_key,
    )


def decode_picture(path: Path, limits: VideoLimits = DEFAULT_LIMITS) -> av.VideoFrame | None:
    """Decode one picture file; None if it is damaged or not a picture.

    Raises:
        VideoLimitError: the file or the picture is too large.
    """
    # Decoded from memory, so that a name such as "%03d.png" is not taken for a pattern.
    try:
        limits.check_file(path.stat().st_size, str(path))
        data = BytesIO(path.read_bytes())
        with open_media(data, None, limits, container_options=MEMORY_OPTIONS) as container:
            stream = choose_stream(container, str(path), limits)
            pictures = container.decode(stream)
            frame = decoding_turns.take(lambda: next(pictures, None))
    except (FFmpegError, OSError, EmptyVideoError, NotAVideoError, NoVideoStreamError):
        return None
    if frame is not None:
        limits.check_picture(frame.width, frame.height, str(path))
    return frame


def _natural_key(path: Path) -> tuple[list[tuple[int, str]], str]:
    parts = re.findall(r"(\d+)|(\D+)", path.name.casefold())
    return [(int(digits), "") if digits else (-1, text) for digits, text in parts], path.name
