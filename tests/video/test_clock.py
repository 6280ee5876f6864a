from hypothesis import given, settings
from hypothesis import strategies as st

from co3d.video.clock import PresentationClock


def stamp_all(times):
    clock = PresentationClock(0.1)
    return [round(clock.stamp(seconds), 6) for seconds in times]


def test_good_timestamps_pass_unchanged():
    assert stamp_all([8.3, 8.4, 8.4, 9.9]) == [8.3, 8.4, 8.4, 9.9]


def test_missing_timestamps_follow_at_the_frame_interval():
    assert stamp_all([None, None, 5.0, None]) == [0.0, 0.1, 5.0, 5.1]


def test_jitter_backwards_repeats_the_time():
    assert stamp_all([1.0, 1.1, 1.05, 1.2]) == [1.0, 1.1, 1.1, 1.2]


def test_a_clock_that_starts_again_goes_on():
    assert stamp_all([100.0, 100.1, 0.0, 0.1]) == [100.0, 100.1, 100.2, 100.3]


def test_after_resume_even_a_small_step_back_is_a_new_clock():
    clock = PresentationClock(0.1)
    assert [clock.stamp(t) for t in (0.0, 0.2)] == [0.0, 0.2]
    clock.resume()
    assert [round(clock.stamp(t), 6) for t in (0.0, 0.2)] == [0.3, 0.5]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.none() | st.floats(-1e6, 1e6), max_size=50))
def test_times_never_fall(times):
    stamps = stamp_all(times)
    assert stamps == sorted(stamps)
