"""Frames of a video file: all of them, as fast as the consumer takes them."""

from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

from co3d.video.container import open_file
from co3d.video.damage import Damage
from co3d.video.decoder import VideoDecoder
from co3d.video.delivery import deliver
from co3d.video.frame import VideoFrame
from co3d.video.limits import DEFAULT_LIMITS, VideoLimits
from co3d.video.packet_tap import PacketTap


class FileSource:
    """A video file as a `FrameSource`; raises what `open_file` and `VideoDecoder` raise.

    Args:
        path: of the file.
        recorder: takes its packets as they are read.
    """

    dropped_frames = 0
    notices = ()

    def __init__(
        self,
        path: Path,
        limits: VideoLimits = DEFAULT_LIMITS,
        recorder: PacketTap | None = None,
        decoder_threads: int | None = None,
    ) -> None:
        container = open_file(path, limits)
        self._decoder = VideoDecoder(
            container, str(path), threads=decoder_threads, recorder=recorder, limits=limits
        )
        self._limits, self._threads = limits, decoder_threads
        self._stopped = False
        self.damage: Damage | None = None
        self.info = self._decoder.describe(is_live=False)
        self.pace = self.info.make_pace()

    def frames(self, rate_hz: float | None, *, fill_gaps: bool) -> Iterator[VideoFrame]:
        """Frames of the file, sampled to `rate_hz`; DamagedVideoError after the last."""
        decoded = takewhile(lambda _: not self._stopped, self._decoder.frames())
        yield from deliver(
            decoded,
            self.info,
            self.pace,
            rate_hz,
            fill_gaps=fill_gaps,
            limits=self._limits,
            threads=self._threads,
        )
        if self._stopped:
            return
        self.damage = self._decoder.losses.damage()
        if self.damage:
            raise self.damage.to_error(self.info.name)

    def stop(self) -> None:
        """End the iteration at its next frame."""
        self._stopped = True

    def close(self) -> None:
        """Close the file."""
        self._decoder.close()
