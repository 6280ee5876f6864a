"""Frames of a video file: all of them, as fast as the consumer takes them."""

from collections.abc import Iterator
from pathlib import Path

from av.codec.hwaccel import HWAccel

from co3d.video.container import open_file
from co3d.video.damage import Damage
from co3d.video.decoder import VideoDecoder
from co3d.video.delivery import deliver
from co3d.video.frame import VideoFrame
from co3d.video.irregularities import Irregularities, IrregularityCounter
from co3d.video.limits import DEFAULT_LIMITS, VideoLimits
from co3d.video.packet_tap import PacketTap
from co3d.video.picture import DecodedFrame, DecodedListener


class FileSource:
    """A video file as a `FrameSource`; raises what `open_file` and `VideoDecoder` raise.

    Args:
        path: of the file.
        recorder: gets its packets as they are read.
        hwaccel: decodes the file if it can.
    """

    dropped_frames = 0
    shows_decoded = True
    elsewhere_seconds = 0.0

    def __init__(
        self,
        path: Path,
        limits: VideoLimits = DEFAULT_LIMITS,
        recorder: PacketTap | None = None,
        decoder_threads: int | None = None,
        hwaccel: HWAccel | None = None,
    ) -> None:
        container = open_file(path, limits, hwaccel)
        self._decoder = VideoDecoder(
            container, str(path), threads=decoder_threads, recorder=recorder, limits=limits
        )
        self._limits, self._threads = limits, decoder_threads
        self._irregularities = IrregularityCounter()
        self._stopped = False
        self.notices = self._decoder.notices
        self.damage: Damage | None = None
        self.info = self._decoder.describe(is_live=False)
        self.pace = self.info.make_pace()

    def frames(
        self,
        rate_hz: float | None,
        *,
        fill_gaps: bool,
        on_decoded: DecodedListener | None = None,
    ) -> Iterator[VideoFrame]:
        """Frames of the file, sampled to `rate_hz`; DamagedVideoError after the last."""
        yield from deliver(
            self._decode(),
            self.info,
            self.pace,
            rate_hz,
            fill_gaps=fill_gaps,
            limits=self._limits,
            threads=self._threads,
            on_decoded=on_decoded,
        )
        if self._stopped:
            return
        self.damage = self._decoder.losses.damage()
        if self.damage:
            raise self.damage.to_error(self.info.name)

    @property
    def irregularities(self) -> Irregularities:
        """Jumps back in time and changes of picture size so far."""
        return self._irregularities.counts

    def _decode(self) -> Iterator[DecodedFrame]:
        for frame in self._decoder.frames():
            if self._stopped:
                return
            self._irregularities.look_at(frame, self._decoder.clock)
            yield frame

    def stop(self) -> None:
        """End the iteration at its next frame."""
        self._stopped = True

    def close(self) -> None:
        """Close the file."""
        self._decoder.close()
