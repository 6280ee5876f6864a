"""The frames of one manifest entry, sampled for a network."""

from collections.abc import Iterator

from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.video import VideoFrame, read_video

USUAL_FOLDER_RATE_HZ = 30.0


def read_entry(
    manifest: Manifest, entry: VideoEntry, rate_hz: float, *, decoder_threads: int | None = None
) -> Iterator[VideoFrame]:
    """Frames of an entry at a steady rate, between its start and its end.

    Args:
        rate_hz: frames a second to sample to. decoder_threads: as for `read_video`.

    Raises:
        What `co3d.read_video` raises; DamagedVideoError comes after the last frame.
    """
    start_seconds = entry.start_seconds or 0.0
    folder_rate_hz = entry.rate_hz or USUAL_FOLDER_RATE_HZ
    with read_video(
        manifest.resolve(entry),
        rate_hz=rate_hz,
        folder_rate_hz=folder_rate_hz,
        decoder_threads=decoder_threads,
    ) as reader:
        first_seconds: float | None = None
        for frame in reader:
            if first_seconds is None:
                first_seconds = frame.pts_seconds
            seconds = frame.pts_seconds - first_seconds
            if entry.end_seconds is not None and seconds >= entry.end_seconds:
                return
            if seconds >= start_seconds:
                yield frame
