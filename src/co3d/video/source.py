"""The interface that every kind of video source offers to the reader."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from co3d.video.aspect import SQUARE
from co3d.video.damage import Damage
from co3d.video.frame import VideoFrame
from co3d.video.irregularities import Irregularities
from co3d.video.pace import Pace
from co3d.video.picture import DecodedListener

FILE_MAX_HOLD_SECONDS = 60.0
"""A recording may hold a picture this long; a longer interval is a hole in its timestamps."""

LIVE_MAX_HOLD_SECONDS = 10.0
"""A live picture is held at most this long, because the network sees all its repeats at once when
the next picture arrives."""


@dataclass(frozen=True)
class SourceInfo:
    """What is known about a source once it is open; None where the source does not say.

    Attributes:
        name: for messages, without a password.
        is_live: frames arrive as they are captured and are lost if nobody takes them.
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
        """The longest time for which one picture may be repeated until the next."""
        return LIVE_MAX_HOLD_SECONDS if self.is_live else FILE_MAX_HOLD_SECONDS

    def make_pace(self) -> Pace:
        """A pace that starts from the rate that the source states (for a file, its mean)."""
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
        """Frames that were dropped because the consumer was late."""
        ...

    @property
    def elsewhere_seconds(self) -> float:
        """CPU seconds so far of the process that decodes, if it is not this one."""
        ...

    @property
    def irregularities(self) -> Irregularities:
        """Jumps back in time and changes of picture size so far."""
        ...

    @property
    def notices(self) -> Sequence[str]:
        """What is odd about its time so far: predicates whose subject is the source."""
        ...

    @property
    def damage(self) -> Damage | None:
        """What the source has lost; known at its end."""
        ...

    @property
    def shows_decoded(self) -> bool:
        """Whether `frames` calls `on_decoded`; a source decoded in another process does not."""
        ...

    def frames(
        self,
        rate_hz: float | None,
        *,
        fill_gaps: bool,
        on_decoded: DecodedListener | None = None,
    ) -> Iterator[VideoFrame]:
        """Frames in presentation order, sampled to `rate_hz`; None takes all. May be called once.

        With `fill_gaps` the picture before a gap is held over it, up to `max_hold_seconds`.
        `on_decoded` is called with each frame before sampling, in the thread that decodes.

        Raises DamagedVideoError after the last frame of a source that has lost frames.
        """
        ...

    def stop(self) -> None:
        """End the iteration soon; may be called from any thread, at any time."""
        ...

    def close(self) -> None:
        """Free everything; nobody may be iterating. May be called twice."""
        ...
