import threading

import numpy as np
import pytest

from co3d.errors import SourceUnreachableError
from co3d.video.frame import VideoFrame
from co3d.video.frame_queue import FrameQueue


def make_frame(index):
    return VideoFrame(np.zeros((2, 2, 3), np.uint8), float(index), index)


def test_latest_drops_the_oldest_and_counts_it():
    queue = FrameQueue(3, drop_oldest=True)
    for index in range(10):
        assert queue.put(make_frame(index))
    queue.finish(None)
    assert [frame.index for frame in queue.take_all()] == [7, 8, 9]
    assert queue.dropped_frames == 7


def test_every_waits_for_the_consumer_and_loses_nothing():
    queue = FrameQueue(2, drop_oldest=False)

    def fill():
        for index in range(50):
            queue.put(make_frame(index))
        queue.finish(None)

    thread = threading.Thread(target=fill)
    thread.start()
    assert [frame.index for frame in queue.take_all()] == list(range(50))
    thread.join(1)
    assert queue.dropped_frames == 0


def test_an_error_comes_after_the_frames_that_wait():
    queue = FrameQueue(3, drop_oldest=False)
    queue.put(make_frame(0))
    queue.finish(SourceUnreachableError("gone"))
    frames = queue.take_all()
    assert next(frames).index == 0
    with pytest.raises(SourceUnreachableError, match="gone"):
        next(frames)


def test_close_wakes_a_producer_that_waits_for_room():
    queue = FrameQueue(1, drop_oldest=False)
    queue.put(make_frame(0))
    results = []
    thread = threading.Thread(target=lambda: results.append(queue.put(make_frame(1))))
    thread.start()
    queue.close()
    thread.join(1)
    assert results == [False]
    assert list(queue.take_all()) == []


def test_close_wakes_a_consumer_that_waits_for_a_frame():
    queue = FrameQueue(1, drop_oldest=False)
    results = []
    thread = threading.Thread(target=lambda: results.append(list(queue.take_all())))
    thread.start()
    queue.close()
    thread.join(1)
    assert results == [[]]


def test_a_closed_queue_takes_nothing_more():
    queue = FrameQueue[int](1, drop_oldest=True)
    assert queue.put(1)
    queue.close()
    assert not queue.put(2)
    assert queue.dropped_frames == 0


def test_a_queue_is_full_by_the_size_of_what_waits_and_discards_what_is_stale():
    queue = FrameQueue[int](10, drop_oldest=True, size_of=lambda number: number, discard=count_odd)
    for number in (4, 5, 6, 3):  # 4 + 5 + 6 are more than it holds: 4 and 5 are dropped for 3
        queue.put(number)
    queue.finish(None)
    assert list(queue.take_all()) == [6, 3]
    assert queue.dropped_frames == 2


def count_odd(waiting):
    return 1 if len(waiting) > 1 and waiting[0] % 2 else 0
