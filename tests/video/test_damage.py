from fractions import Fraction

import pytest

from co3d.errors import DamagedVideoError
from co3d.video.damage import Damage, LossTracker, StreamMetadata


def make_tracker(codec="h264", frame_count: int | None = 10, end_seconds: float | None = 1.0):
    return LossTracker(StreamMetadata(codec, Fraction(1, 10), 10.0, frame_count, end_seconds))


def play(tracker, pts, lost=(), failed=(), hidden=()):
    for time in pts:
        tracker.demuxed((time + 1) / 10)
        tracker.sent(time, trimmed=False)
        if time in failed:
            tracker.failed(time)
        elif time not in (*lost, *hidden):
            tracker.delivered(time, concealed=False, interlaced=False)


def test_a_whole_video_has_no_damage():
    tracker = make_tracker()
    play(tracker, range(10))
    assert tracker.damage() is None


def test_a_refused_packet_is_counted_and_placed():
    tracker = make_tracker(codec="vp9")
    play(tracker, range(10), failed=[4])
    assert tracker.damage() == Damage(9, 1, 0.4)


def test_a_packet_that_vanishes_without_an_error_is_found():
    tracker = make_tracker(frame_count=None)
    play(tracker, range(10), lost=[6, 7])
    assert tracker.damage() == Damage(8, 2, 0.6)


def test_hidden_pictures_are_not_damage():
    tracker = make_tracker(codec="vp8")
    play(tracker, range(10), hidden=[3])
    assert tracker.damage() is None


def test_fields_in_packets_of_their_own_are_not_damage():
    tracker = make_tracker()
    play(tracker, range(10), hidden=[3])
    tracker.delivered(10, concealed=False, interlaced=True)
    assert tracker.damage() is None


def test_leading_pictures_before_the_first_key_frame_are_not_damage():
    tracker = make_tracker(frame_count=None)
    tracker.sent(0, trimmed=False)
    play(tracker, range(1, 10))
    assert tracker.damage() is None


def test_frames_cut_away_by_an_edit_list_are_not_damage():
    tracker = make_tracker()
    tracker.sent(0, trimmed=True)
    play(tracker, range(1, 10))
    assert tracker.damage() is None


def test_an_early_end_loses_the_frames_that_the_header_states():
    tracker = make_tracker()
    play(tracker, range(6))
    assert tracker.damage() == Damage(6, 4, 0.6)


def test_without_a_stated_end_no_loss_at_the_end_is_known():
    tracker = make_tracker(frame_count=None, end_seconds=None)
    play(tracker, range(6))
    assert tracker.damage() is None


def test_a_container_that_breaks_off_lost_a_frame_at_least():
    tracker = make_tracker(frame_count=None, end_seconds=None)
    play(tracker, range(6))
    tracker.interrupted()
    assert tracker.damage() == Damage(6, 1, 0.6)


def test_concealed_frames_alone_are_delivered_not_lost():
    tracker = make_tracker()
    play(tracker, range(9))
    tracker.demuxed(1.0)
    tracker.sent(9, trimmed=False)
    tracker.delivered(9, concealed=True, interlaced=False)
    assert tracker.damage() is None


def test_the_error_names_all_three_figures():
    with pytest.raises(DamagedVideoError, match=r"a\.mp4 .*28 frames .*22 lost from 2\.800 s"):
        raise Damage(28, 22, 2.8).to_error("a.mp4")


def test_recordings_that_are_joined_last_as_long_as_both():
    tracker = make_tracker(frame_count=None, end_seconds=1.0)
    for time in [*range(5), *range(5)]:
        tracker.demuxed((time + 1) / 10, time / 10)
        tracker.sent(time, trimmed=False)
        tracker.delivered(time, concealed=False, interlaced=False)
    assert tracker.reached_end
    assert tracker.damage() is None
