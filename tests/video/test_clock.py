from hypothesis import given, settings
from hypothesis import strategies as st

from co3d.video.clock import Arrival, PresentationClock


def stamp_all(times, arrivals=None, clock=None):
    """Times of frames, checked to come in order; arrivals are 0 unless given."""
    clock = clock or PresentationClock(0.1)
    settled = []
    for number, seconds in enumerate(times):
        settled += clock.put(number, seconds, Arrival(arrivals[number] if arrivals else 0.0, 0.0))
    settled += clock.release()
    assert [number for number, _ in settled] == list(range(len(times)))
    return [round(seconds, 6) for _, seconds in settled]


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
    assert stamp_all([0.0, 0.2], clock=clock) == [0.0, 0.2]
    clock.resume()
    assert stamp_all([0.0, 0.2], clock=clock) == [0.3, 0.5]


def test_one_wild_timestamp_ahead_lies_between_its_neighbours():
    assert stamp_all([1.0, 1.1, 37_600.0, 1.3, 1.4]) == [1.0, 1.1, 1.2, 1.3, 1.4]


def test_one_wild_timestamp_behind_lies_between_its_neighbours():
    assert stamp_all([50.0, 50.1, 3.0, 50.3, 50.4]) == [50.0, 50.1, 50.2, 50.3, 50.4]


def test_two_wild_timestamps_running():
    assert stamp_all([1.0, 1.1, 900.0, 900.1, 1.4]) == [1.0, 1.1, 1.2, 1.3, 1.4]
    assert stamp_all([1.0, 1.1, 900.0, 7.0, 1.4]) == [1.0, 1.1, 1.2, 1.3, 1.4]


def test_one_wild_timestamp_in_fifty():
    times = [n / 10 + 37_600 * (n % 50 == 25) for n in range(300)]
    assert stamp_all(times) == [round(n / 10, 6) for n in range(300)]


def test_the_first_timestamp_may_be_wild():
    assert stamp_all([37_600.0, 1.1, 1.2, 1.3]) == [1.0, 1.1, 1.2, 1.3]
    assert stamp_all([1.0, 37_600.0, 1.2, 1.3]) == [1.0, 1.1, 1.2, 1.3]
    assert stamp_all([1.0, 60.0, 60.1, 60.2]) == [1.0, 60.0, 60.1, 60.2]
    assert stamp_all([None, 60.0, 60.1, 60.2]) == [0.0, 60.0, 60.1, 60.2]
    assert stamp_all([7.0]) == [7.0]
    assert stamp_all([]) == []


def test_a_jump_ahead_that_others_confirm_is_kept():
    assert stamp_all([1.0, 1.1, 3600.0, 3600.1, 3600.2]) == [1.0, 1.1, 3600.0, 3600.1, 3600.2]


def test_a_wild_timestamp_after_a_real_jump():
    assert stamp_all([1.0, 60.0, 9e4, 60.2, 60.3]) == [1.0, 60.0, 60.1, 60.2, 60.3]


def test_only_a_jump_is_waited_for():
    clock = PresentationClock(0.1)
    counts = [len(clock.put(n, t)) for n, t in enumerate([1.0, 1.1, 9.0, 9.1, 9.2, 9.3])]
    assert counts == [0, 2, 0, 0, 3, 1]  # the first waits for the second


def test_stills_that_last_are_not_waited_for():
    clock = PresentationClock(5.0)
    assert [len(clock.put(n, 5.0 * n)) for n in range(9)] == [0, 2, *[1] * 7]


def test_the_last_frame_may_last_a_minute_and_no_more():
    assert stamp_all([1.0, 1.1, 61.0]) == [1.0, 1.1, 61.0]
    assert stamp_all([1.0, 1.1, 62.0]) == [1.0, 1.1, 1.2]
    assert stamp_all([1.0, 1.1, 62.0, 62.1]) == [1.0, 1.1, 62.0, 62.1]


def test_garbage_gets_steady_times():
    stamps = stamp_all([0.0, 0.1, 9e5, 4e5, 3e5, 8e4, 900.0, 0.2])
    assert stamps[-1] < 2


def resumed(times, passed_seconds):
    """Times after a break, of a source that ran from 100 to 100.1 s before it."""
    clock = PresentationClock(0.1)
    assert stamp_all([100.0, 100.1], [7.0, 7.1], clock) == [100.0, 100.1]
    clock.resume()
    return stamp_all(times, [7.1 + passed_seconds] * len(times), clock)


def test_after_a_break_a_new_clock_goes_on_where_time_has_got():
    assert resumed([0.0, 0.1], 20.0) == [120.1, 120.2]
    assert resumed([9e5, 9e5 + 0.1], 20.0) == [120.1, 120.2]
    assert resumed([None, None], 20.0) == [120.1, 120.2]


def test_after_a_break_a_clock_that_ran_on_is_believed():
    assert resumed([121.0, 121.1], 20.0) == [121.0, 121.1]
    assert resumed([118.5, 118.6], 20.0) == [118.5, 118.6]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.none() | st.floats(-1e6, 1e6), max_size=50))
def test_times_never_fall(times):
    stamps = stamp_all(times)
    assert stamps == sorted(stamps)
