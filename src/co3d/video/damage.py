"""What a damaged video lost, from the packets that went in and the frames that came out."""

import math
from dataclasses import dataclass
from fractions import Fraction

from co3d.errors import DamagedVideoError

ONE_PICTURE_PER_PACKET = frozenset({"h264", "hevc"})
"""Codecs without hidden pictures: a packet that yields no frame is a lost frame."""

RESTART_SECONDS = 0.1
"""Packets of one stream come in decoding order: times decrease only where recordings are joined."""

END_SLACK_SECONDS = 0.2
"""Containers round the duration they state, and streams end at slightly different times."""


@dataclass(frozen=True)
class Damage:
    """What a damaged source lost, as far as it can be known.

    Attributes:
        frames_delivered: frames that decoded.
        frames_lost: frames that are missing; an estimate where the container gives no count.
        lost_from_seconds: presentation time of the first missing frame.
    """

    frames_delivered: int
    frames_lost: int
    lost_from_seconds: float

    def to_error(self, name: str) -> DamagedVideoError:
        """The error to raise after the last frame."""
        return DamagedVideoError(
            f"{name} is damaged: {self.frames_delivered} frames were delivered, "
            f"{self.frames_lost} lost from {self.lost_from_seconds:.3f} s on; fetch it again"
        )


@dataclass(frozen=True)
class StreamMetadata:
    """What a container's header states about its video stream; None where it states nothing."""

    codec: str
    time_base: Fraction
    rate_hz: float | None
    frame_count: int | None
    end_seconds: float | None


class LossTracker:
    """Compare what a container's header states with what was decoded.

    Timestamps are the integers of the stream, in units of its time base.
    """

    def __init__(self, metadata: StreamMetadata) -> None:
        self._metadata = metadata
        self._waiting: set[int] = set()
        self._failed_pts: int | None = None
        self._first_pts: int | None = None
        self._failures = 0
        self._delivered = 0
        self._trimmed = 0
        self._end_seconds = self._joined_seconds = 0.0
        self._decoded_seconds = -math.inf
        self._concealed = False
        self._interrupted = False
        self._one_picture_per_packet = metadata.codec in ONE_PICTURE_PER_PACKET

    def demuxed(self, end_seconds: float, decode_seconds: float | None = None) -> None:
        """Note that a packet of any stream ends at this time, and when a video packet is decoded.

        Where recordings are joined, times start anew, and the stated length is that of all.
        """
        if decode_seconds is not None:
            start_seconds = decode_seconds + self._joined_seconds
            if start_seconds < self._decoded_seconds - RESTART_SECONDS:
                self._joined_seconds += self._end_seconds - start_seconds
            self._decoded_seconds = decode_seconds + self._joined_seconds
        self._end_seconds = max(self._end_seconds, end_seconds + self._joined_seconds)

    def sent(self, pts: int | None, trimmed: bool) -> None:
        """Note that a packet went to the decoder; an edit list discards `trimmed` ones."""
        self._trimmed += trimmed
        if pts is not None and not trimmed and self._one_picture_per_packet:
            self._waiting.add(pts)

    def failed(self, pts: int | None) -> None:
        """Note that the decoder refused a packet."""
        self._failures += 1
        if self._failed_pts is None:
            self._failed_pts = pts

    def delivered(self, pts: int | None, concealed: bool, interlaced: bool) -> None:
        """Note that a frame came out; the decoder concealed errors in `concealed` ones."""
        self._delivered += 1
        if interlaced:  # the two fields of a picture may come in two packets
            self._one_picture_per_packet = False
        if concealed:
            self._concealed = True
            if self._failed_pts is None:
                self._failed_pts = pts
        if pts is not None:
            self._waiting.discard(pts)
            if self._first_pts is None:
                self._first_pts = pts

    def interrupted(self) -> None:
        """Note that the container could not be read any further."""
        self._interrupted = True

    @property
    def reached_end(self) -> bool:
        """Whether the stated end was seen; True where no end is stated."""
        end_seconds = self._metadata.end_seconds
        return end_seconds is None or end_seconds - self._end_seconds <= END_SLACK_SECONDS

    def damage(self) -> Damage | None:
        """What is lost so far; None if nothing. Call it at the end of the video."""
        vanished = self._vanished()
        # Servers that state no length end a stream by closing the connection.
        ended = self._metadata.end_seconds is not None and self.reached_end
        interrupted = self._interrupted and not ended
        suspect = self._failures or self._concealed or interrupted or not self.reached_end
        if not vanished and not suspect:
            return None
        lost = max(len(vanished), self._failures, self._shortfall(), int(interrupted))
        if lost == 0:
            return None
        return Damage(self._delivered, lost, self._lost_from_seconds(vanished))

    def _vanished(self) -> list[int]:
        """Timestamps that went in and never came out, except those before the first picture."""
        if not self._one_picture_per_packet or self._first_pts is None:
            return []
        return sorted(pts for pts in self._waiting if pts > self._first_pts)

    def _shortfall(self) -> int:
        metadata = self._metadata
        if metadata.frame_count is None:
            return 0
        return metadata.frame_count - self._trimmed - self._delivered

    def _lost_from_seconds(self, vanished: list[int]) -> float:
        if vanished:
            return float(vanished[0] * self._metadata.time_base)
        if self._failed_pts is not None:
            return float(self._failed_pts * self._metadata.time_base)
        return self._end_seconds
