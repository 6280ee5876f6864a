"""Videos whose frames are read by index: seekable files, unseekable files, folders of frames."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from co3d.errors import DamagedVideoError, EmptyVideoError, NotAVideoError
from co3d.video.container import open_file, translate_pyav_errors
from co3d.video.decoder import VideoDecoder
from co3d.video.folder import decode_picture, list_pictures
from co3d.video.limits import DEFAULT_LIMITS, VideoLimits
from co3d.video.picture import to_rgb, upright_size
from co3d.video.seeking import SeekableVideo, UnseekableError

FOLDER_RATE_HZ = 30.0
"""The default frame rate of a folder of frames."""


class IndexedVideo(Protocol):
    """A video whose frames are read by index.

    Attributes:
        times_seconds: (N,) when each frame is shown, in order.
        rate_hz: mean frames per second that the container states; None if it states none.
    """

    times_seconds: np.ndarray
    rate_hz: float | None

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Frames (T, H, W, 3) uint8 RGB, upright, at indices that do not decrease.

        Raises:
            DamagedVideoError: one of them does not decode.
        """
        ...

    def close(self) -> None:
        """Free the video."""
        ...


def open_indexed_here(
    path: Path,
    rate_hz: float | None = None,
    threads: int = 0,
    limits: VideoLimits = DEFAULT_LIMITS,
) -> IndexedVideo:
    """Open a video file or a folder of frames in this process.

    Args:
        path: of the file or folder.
        rate_hz: of a folder of frames; None means 30.
        threads: of the decoder; 0 takes one per core.
        limits: on pixels, frames and bytes.

    Raises:
        SourceNotFoundError, NotAVideoError, NoVideoStreamError, EmptyVideoError: it is not a video.
        DamagedVideoError: its end is missing.
        VideoLimitError: it is larger than `limits` allow.
    """
    if path.is_dir():
        return PictureFolder(path, rate_hz or FOLDER_RATE_HZ, limits)
    with translate_pyav_errors(str(path)):
        try:
            return SeekableVideo(path, threads, limits)
        except UnseekableError:
            return PlayedVideo(path, limits)


class PictureFolder:
    """A folder of pictures as a `IndexedVideo`; picture `n` is shown at `n / rate_hz` seconds.

    Raises:
        EmptyVideoError: there is no picture in it.
    """

    def __init__(self, folder: Path, rate_hz: float, limits: VideoLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._paths = list_pictures(folder)
        if not self._paths:
            raise EmptyVideoError(f"cannot read {folder}: it holds no pictures; make them again")
        limits.check_frames(len(self._paths), str(folder))
        self.times_seconds = np.arange(len(self._paths)) / rate_hz
        self.rate_hz: float | None = rate_hz
        self._size: tuple[int, int] | None = None

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Frames (T, H, W, 3) uint8 RGB; see `IndexedVideo.read`."""
        with translate_pyav_errors(str(self._paths[0].parent)):
            pictures = {
                index: self._read_picture(self._paths[index]) for index in dict.fromkeys(indices)
            }
        return np.stack([pictures[index] for index in indices])

    def close(self) -> None:
        """Forget the pictures; no file is open between reads."""
        self._paths = []

    def _read_picture(self, path: Path) -> np.ndarray:
        frame = decode_picture(path, self._limits)
        if frame is None:
            raise DamagedVideoError(
                f"{path} is damaged: it does not decode with at most {self._limits.pixels} pixels; "
                "make it again"
            )
        size = upright_size(frame)
        if self._size not in (None, size):
            raise NotAVideoError(
                f"{path.parent} is not one video: {path.name} is {size[0]}x{size[1]}, expected "
                f"{self._size} like others; scale it or take it out"
            )
        self._size = size
        return to_rgb(frame, *size)


class PlayedVideo:
    """A file that must be played from its start for every clip, such as an elementary stream.

    Raises:
        DamagedVideoError: some of it does not decode.
    """

    def __init__(self, path: Path, limits: VideoLimits = DEFAULT_LIMITS) -> None:
        self._path, self._limits = path, limits
        decoder = self._open()
        try:
            self.times_seconds = np.array([frame.pts_seconds for frame in decoder.frames()])
            self.rate_hz = decoder.metadata.rate_hz
            if damage := decoder.losses.damage():
                raise damage.to_error(str(path))
        finally:
            decoder.close()

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Frames (T, H, W, 3) uint8 RGB; see `IndexedVideo.read`."""
        with translate_pyav_errors(str(self._path)):
            return self._read(indices)

    def close(self) -> None:
        """Do nothing: no file is open between reads."""

    def _read(self, indices: Sequence[int]) -> np.ndarray:
        wanted = set(indices)
        decoder = self._open()
        try:
            pictures: dict[int, np.ndarray] = {}
            for frame in decoder.frames():
                if frame.index in wanted:
                    pictures[frame.index] = to_rgb(frame.frame, decoder.width, decoder.height)
                if frame.index >= indices[-1]:
                    break
        finally:
            decoder.close()
        if not all(index in pictures for index in indices):
            raise DamagedVideoError(f"{self._path} has changed since it was opened; open it again")
        return np.stack([pictures[index] for index in indices])

    def _open(self) -> VideoDecoder:
        file = open_file(self._path, self._limits)
        return VideoDecoder(file, str(self._path), limits=self._limits)
