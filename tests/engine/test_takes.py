import numpy as np
import pytest

from co3d.engine.takes import split_at_gaps
from co3d.video import VideoFrame

PICTURE = np.zeros((2, 2, 3), np.uint8)


def take_apart(frames):
    """Indices of the frames of each take."""
    return [
        [frame.index for frame in open_take()]
        for _, open_take in split_at_gaps(frames, lambda take: take)
    ]


def video(gaps):
    return [VideoFrame(PICTURE, float(n), n, gap_seconds=gap) for n, gap in enumerate(gaps)]


@pytest.mark.parametrize(
    ("gaps", "takes"),
    [
        ([], [[]]),
        ([0], [[0]]),
        ([0, 0, 5, 0, 0], [[0, 1], [2, 3, 4]]),
        ([0, 5, 5], [[0], [1], [2]]),
    ],
)
def test_a_gap_begins_a_take(gaps, takes):
    assert take_apart(video(gaps)) == takes


def test_a_take_is_read_only_as_it_is_asked_for():
    read = []

    def frames():
        for frame in video([0, 0, 5, 0]):
            read.append(frame.index)
            yield frame

    takes = split_at_gaps(frames(), lambda take: take)
    _, open_first = next(takes)
    assert read == []
    assert next(open_first()).index == 0
    assert read == [0]


def test_an_error_ends_its_take_and_there_is_none_after_it():
    def frames():
        yield from video([0, 5])
        raise ValueError("broken")

    takes = split_at_gaps(frames(), lambda take: take)
    assert [frame.index for frame in next(takes)[1]()] == [0]
    second = next(takes)[1]()
    assert next(second).index == 1
    with pytest.raises(ValueError, match="broken"):
        next(second)
    assert list(takes) == []
