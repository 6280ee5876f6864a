"""A video in takes: what lies between two gaps."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from co3d.video import VideoFrame

T = TypeVar("T")


def split_at_gaps(
    frames: Iterable[VideoFrame], show: Callable[[Iterator[VideoFrame]], Iterator[T]]
) -> Iterator[tuple[int, Callable[[], Iterator[T]]]]:
    """Takes of a video, each as a video of its own that `play_videos` starts anew.

    A frame with `gap_seconds` is the first one of its take. What the frames raise ends the take in
    which it happens, and there is none after it.

    Args:
        frames: of the whole video.
        show: what the network is to see of the frames of a take.

    Yields:
        The number of a take and what opens it. A take must have been read to its end before the
        next one is asked for.
    """
    source = iter(frames)
    ahead: list[VideoFrame] = []

    def read_take() -> Iterator[VideoFrame]:
        if ahead:
            yield ahead.pop()
        for frame in source:
            if frame.gap_seconds:
                ahead.append(frame)
                return
            yield frame

    number = 0
    while number == 0 or ahead:
        yield number, lambda: show(read_take())
        number += 1
