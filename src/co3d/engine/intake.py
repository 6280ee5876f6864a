"""Samples pushed pictures to the network's rate."""

import math
import time
from collections.abc import Iterator

import numpy as np
from torch import Tensor

from co3d.engine.mailbox import WaitingFrame
from co3d.errors import StreamError
from co3d.pictures import check_picture
from co3d.video import VideoFrame
from co3d.video.continuity import Continuity
from co3d.video.pace import Pace
from co3d.video.sampling import RateSampler
from co3d.video.source import FILE_MAX_HOLD_SECONDS, LIVE_MAX_HOLD_SECONDS


class Intake:
    """Samples pushed pictures by their times, as `read_video` samples those of a source.

    Args:
        name: the track's name, for messages.
        rate_hz: frames per second that the network sees.
        is_live: whether pictures are pushed in real time.
        keeps_gaps: whether the last picture before a gap is repeated until its end.

    Attributes:
        pictures: how many pictures were pushed.
    """

    def __init__(self, name: str, rate_hz: float, *, is_live: bool, keeps_gaps: bool) -> None:
        self._name, self._is_live = name, is_live
        self._rate_hz, self._keeps_gaps = rate_hz, keeps_gaps
        self._hold_seconds = LIVE_MAX_HOLD_SECONDS if is_live else FILE_MAX_HOLD_SECONDS
        self.pictures = 0
        self._start()
        self._starts_anew = False

    def start_anew(self) -> None:
        """Let the next picture start a new video, whose times may be any."""
        self._start()
        self._starts_anew = True

    def _start(self) -> None:
        self._pace = Pace(None, self._hold_seconds)
        watched = None if self._keeps_gaps else self._pace
        self._sampler = RateSampler[VideoFrame](self._rate_hz, self._hold_seconds, watched)
        self._continuity = Continuity(self._rate_hz, self._pace, Pace(None, self._hold_seconds))
        self._last: VideoFrame | None = None

    def push(self, picture: np.ndarray, pts_seconds: float) -> Iterator[WaitingFrame]:
        """Push a picture, and yield the frames that are now known; iterate to the end.

        Raises:
            InputShapeError: the picture is not (H, W, 3) uint8.
            StreamError: its time is not after that of the picture before it.
        """
        check_picture(picture, f"push to {self._name}")
        last_seconds = -math.inf if self._last is None else self._last.pts_seconds
        if not last_seconds < pts_seconds < math.inf:
            raise StreamError(
                f"cannot push to {self._name}: got pts_seconds={pts_seconds}, expected a time "
                f"after {last_seconds}; call reset() where a source starts again"
            )
        received_seconds = time.time() if self._is_live else None
        frame = VideoFrame(picture, pts_seconds, self.pictures, received_seconds=received_seconds)
        self._watch(frame)
        yield from self._settle(self._sampler.push(frame))

    def take_over(self, frame: VideoFrame, pixels: Tensor | None = None) -> WaitingFrame:
        """Pass on a frame that a reader has sampled and whose gaps are marked.

        Args:
            pixels: the preprocessed frame, if there is one.
        """
        self._watch(frame)
        return self._hand_on(frame, pixels)

    @property
    def longest_seconds(self) -> float:
        """The longest time between two frames that does not count as a gap."""
        return self._pace.longest_without_gap(1 / self._rate_hz)

    def finish(self) -> Iterator[WaitingFrame]:
        """Yield the last frame, which is known only at the end, if there is one."""
        yield from self._settle(self._sampler.finish())

    def _settle(self, frames: Iterator[VideoFrame]) -> Iterator[WaitingFrame]:
        """Mark the gaps of sampled frames; those of live frames are marked when they step."""
        for sampled in frames:
            yield self._hand_on(sampled if self._is_live else self._continuity.mark(sampled))

    def _watch(self, frame: VideoFrame) -> None:
        if self._last is None or frame.index != self._last.index:  # else it is a repeated frame
            self.pictures += 1
            if self._last is not None:
                self._pace.add(frame.pts_seconds - self._last.pts_seconds)
        self._last = frame

    def _hand_on(self, frame: VideoFrame, pixels: Tensor | None = None) -> WaitingFrame:
        continuity = self._continuity if self._is_live else None
        waiting = WaitingFrame(frame, time.monotonic(), self._starts_anew, continuity, pixels)
        self._starts_anew = False
        return waiting
