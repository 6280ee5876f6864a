"""From what a source decodes to what its reader gets: sampled, and converted to pictures."""

from collections.abc import Iterable, Iterator

from co3d.video.frame import VideoFrame
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
) -> Iterator[VideoFrame]:
    """Frames of a source, sampled to `rate_hz`; see `FrameSource.frames`.

    Args:
        decoded: in presentation order.
        info: of the source. pace: of its frames; it is told of all that are decoded.
        rate_hz: frames a second; None takes all.
        fill_gaps: whether the picture before a gap is held over it.
    """
    watched = None if fill_gaps else pace
    sampled = sample_at_rate(pace.watch(decoded), rate_hz, info.max_hold_seconds, watched)
    return convert_frames(sampled, info.width, info.height)
