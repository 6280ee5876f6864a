"""Shares one source between several tracks, each of which sees a crop of its pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from co3d.engine.track import Track
from co3d.errors import Co3dError
from co3d.video import VideoFrame, VideoReader
from co3d.video.framing import Crop


class SharedReader:
    """Yields a crop of each frame of a reader, and feeds other crops to other tracks.

    Args:
        reader: reads whole pictures. crop: the crop to yield; None for whole pictures.
        others: the other tracks with their crops. They end when the reader does.
    """

    def __init__(
        self, reader: VideoReader, crop: Crop | None, others: Sequence[tuple[Crop, Track]]
    ) -> None:
        self._reader, self._crop, self._others = reader, crop, others

    @property
    def dropped_frames(self) -> int:
        """Frames that the source has dropped so far."""
        return self._reader.dropped_frames

    @property
    def elsewhere_seconds(self) -> float:
        """CPU seconds so far of the process that decodes, if it is not this one."""
        return self._reader.elsewhere_seconds

    def __iter__(self) -> Iterator[VideoFrame]:
        error: Exception | None = None
        try:
            for frame in self._reader:
                for crop, track in self._others:
                    track.feed(_cut(frame, crop), dropped_frames=self.dropped_frames)
                yield frame if self._crop is None else _cut(frame, self._crop)
        except Co3dError as raised:
            error = raised
            raise
        finally:
            for _, track in self._others:
                track.finish(error)


def name_region(camera: str, region: Crop) -> str:
    """The name of the track that sees a region of a camera's pictures."""
    return f"{camera} [{','.join(map(str, region))}]"


def _cut(frame: VideoFrame, crop: Crop) -> VideoFrame:
    left, top, width, height = crop
    image = frame.image[top : top + height, left : left + width]
    return replace(frame, image=image.copy())
