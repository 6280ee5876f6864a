"""What every kind of video source offers to the reader."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from co3d.video.aspect import SQUARE
from co3d.video.damage import Damage
from co3d.video.frame import VideoFrame
from co3d.video.pace import Pace

FILE_MAX_HOLD_SECONDS = 60.0
"""A still picture in a recording may last; a hole in its timestamps may be of any length."""

LIVE_MAX_HOLD_SECONDS = 10.0
"""The network has to see all repeats of a held picture at once, when the next one arrives."""


@dataclass(frozen=True)
class SourceInfo:
    """What is known about a source once it is open; None where the source does not say.

    Attributes:
        name: as the user wrote it, without a password.
        is_live: frames come when they happen and are lost if nobody takes them.
        rate_hz: frames per second, nominal.
        width, height: of every picture, in pixels, upright.
        frame_count: an estimate.
        duration_seconds: of the whole container.
        sample_aspect_ratio: width of a pixel by its height, upright.
    """

    name: str
    is_live: bool
    rate_hz: float | None
    width: int
    height: int
    frame_count: int | None
    duration_seconds: float | None
    sample_aspect_ratio: Fraction = SQUARE

    @property
    def max_hold_seconds(self) -> float:
        """The longest time for which one picture may stand in for the next."""
        return LIVE_MAX_HOLD_SECONDS if self.is_live else FILE_MAX_HOLD_SECONDS

    def make_pace(self) -> Pace:
        """A pace that starts from what the source states: of a file that is its mean rate."""
        stated_seconds = 1 / self.rate_hz if self.rate_hz and not self.is_live else None
        return Pace(stated_seconds, self.max_hold_seconds)


class FrameSource(Protocol):
    """An open source of frames."""

    @property
    def info(self) -> SourceInfo:
        """What is known about the source."""
        ...

    @property
    def pace(self) -> Pace:
        """The pace of all its frames so far, before any sampling."""
        ...

    @property
    def dropped_frames(self) -> int:
        """Frames that came and were thrown away because the consumer was late."""
        ...

    @property
    def notices(self) -> Sequence[str]:
        """What is odd about its time so far, in sentences that lack their subject, the source."""
        ...

    @property
    def damage(self) -> Damage | None:
        """What the source has lost, known at its end."""
        ...

    def frames(self, rate_hz: float | None, *, fill_gaps: bool) -> Iterator[VideoFrame]:
        """Frames in presentation order, sampled to `rate_hz`; None takes all. Called once.

        With `fill_gaps` the picture before a gap is held over it, up to `max_hold_seconds`.

        Raises DamagedVideoError after the last frame of a source that has lost some.
        """
        ...

    def stop(self) -> None:
        """End the iteration soon; may be called from any thread, at any time."""
        ...

    def close(self) -> None:
        """Free everything; nobody may be iterating. Twice is fine."""
        ...
