"""From what a source decodes to what its reader gets: sampled, and converted to pictures."""

from collections.abc import Iterable, Iterator

from co3d.video.frame import VideoFrame
from co3d.video.limits import DEFAULT_LIMITS, VideoLimits
from co3d.video.pace import Pace
from co3d.video.picture import DecodedFrame, convert_frames
from co3d.video.sampling import sample_at_rate
from co3d.video.source import SourceInfo


def deliver(
    decoded: Iterable[DecodedFrame],
    info: SourceInfo,
    pace: Pace,
    rate_hz: float | None,
    *,
    fill_gaps: bool,
    limits: VideoLimits = DEFAULT_LIMITS,
    threads: int | None = None,
) -> Iterator[VideoFrame]:
    """Frames of a source, sampled to `rate_hz`; see `FrameSource.frames`.

    Args:
        decoded: in presentation order.
        info: of the source. pace: of its frames; it is told of all that are decoded.
        rate_hz: frames a second; None takes all.
        fill_gaps: whether the picture before a gap is held over it.
        limits: of a file or folder. threads: that convert a picture; see `to_rgb`.

    Raises:
        VideoLimitError: pictures are held for too long in all.
    """
    watched = None if fill_gaps else pace
    sampled = sample_at_rate(pace.watch(decoded), rate_hz, info.max_hold_seconds, watched)
    if rate_hz is not None and not info.is_live:
        sampled = _bound_repeats(sampled, rate_hz, limits, info.name)
    return convert_frames(sampled, info.width, info.height, threads)


def _bound_repeats(
    sampled: Iterable[DecodedFrame], rate_hz: float, limits: VideoLimits, name: str
) -> Iterator[DecodedFrame]:
    """The same frames, as long as they do not repeat pictures for too long."""
    last: DecodedFrame | None = None
    shown, held = 0, 0
    for frame in sampled:
        shown = shown + 1 if frame is last else 1
        last = frame
        if shown > rate_hz + 1:
            held += 1
            limits.check_held(held / rate_hz, name)
        yield frame
