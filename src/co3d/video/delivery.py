"""From a source's decoded frames to its reader's: sampled, and converted to pictures."""

from collections.abc import Iterable, Iterator

from co3d.video.frame import VideoFrame
from co3d.video.limits import DEFAULT_LIMITS, VideoLimits
from co3d.video.pace import Pace
from co3d.video.picture import DecodedFrame, DecodedListener, convert_frames
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
    on_decoded: DecodedListener | None = None,
) -> Iterator[VideoFrame]:
    """Frames of a source, sampled to `rate_hz`; see `FrameSource.frames`.

    Args:
        decoded: in presentation order.
        info: of the source. pace: of its frames; it counts all decoded ones.
        rate_hz: frames a second; None takes all.
        fill_gaps: whether the picture before a gap is held over the gap.
        limits: on a file or folder. threads: that convert a picture; see `to_rgb`.
        on_decoded: called with each decoded frame before it is sampled.

    Raises:
        VideoLimitError: pictures are repeated for too long in all.
    """
    watched = None if fill_gaps else pace
    if on_decoded is not None:
        decoded = _show(decoded, on_decoded)
    sampled = sample_at_rate(pace.watch(decoded), rate_hz, info.max_hold_seconds, watched)
    if rate_hz is not None and not info.is_live:
        sampled = _bound_repeats(sampled, rate_hz, limits, info.name)
    return convert_frames(sampled, info.width, info.height, threads)


def _show(decoded: Iterable[DecodedFrame], listener: DecodedListener) -> Iterator[DecodedFrame]:
    for frame in decoded:
        listener(frame)
        yield frame


def _bound_repeats(
    sampled: Iterable[DecodedFrame], rate_hz: float, limits: VideoLimits, name: str
) -> Iterator[DecodedFrame]:
    """The same frames; raises once they have repeated pictures for too long in all."""
    last: DecodedFrame | None = None
    shown, held = 0, 0
    for frame in sampled:
        shown = shown + 1 if frame is last else 1
        last = frame
        if shown > rate_hz + 1:
            held += 1
            limits.check_held(held / rate_hz, name)
        yield frame
