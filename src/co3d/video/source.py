"""What every kind of video source offers to the reader."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from co3d.video.damage import Damage
from co3d.video.frame import VideoFrame


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
    """

    name: str
    is_live: bool
    rate_hz: float | None
    width: int
    height: int
    frame_count: int | None
    duration_seconds: float | None


class FrameSource(Protocol):
    """An open source of frames."""

    @property
    def info(self) -> SourceInfo:
        """What is known about the source."""
        ...

    @property
    def dropped_frames(self) -> int:
        """Frames that came and were thrown away because the consumer was late."""
        ...

    @property
    def damage(self) -> Damage | None:
        """What the source has lost, known at its end."""
        ...

    def frames(self, rate_hz: float | None) -> Iterator[VideoFrame]:
        """Frames in presentation order, sampled to `rate_hz`; None takes all. Called once.

        Raises DamagedVideoError after the last frame of a source that has lost some.
        """
        ...

    def stop(self) -> None:
        """End the iteration soon; may be called from any thread, at any time."""
        ...

    def close(self) -> None:
        """Free everything; nobody may be iterating. Twice is fine."""
        ...
