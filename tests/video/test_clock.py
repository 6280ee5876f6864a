from hypothesis import given, settings
from hypothesis import strategies as st

from co3d.video.clock import Arrival, PresentationClock


def stamp_all(times, arrivals=None, clock=None):
    """Times of frames, checked to be in order; arrivals are 0 unless given."""
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


def test_times_continue_when_the_clock_is_reset():
    assert stamp_all([100.0, 100.1, 0.0, 0.1]) == [100.0, 100.1, 100.2, 100.3]


def test_after_silence_a_reset_clock_continues_from_the_time_of_arrival():
    clock = PresentationClock(0.1)
    assert not clock.jumps_back
    settled = []
    for number, (seconds, waited) in enumerate(
        [(100.0, 0.0), (100.1, 0.1), (0.0, 7.1), (0.1, 7.2), (0.2, 7.3)]
    ):
        settled += clock.put(number, seconds, Arrival(50 + waited, waited))
    assert [round(seconds, 6) for _, seconds in settled] == [100.0, 100.1, 107.1, 107.2, 107.3]
    assert clock.jumps_back == 1
    assert round(clock.jump_back_seconds, 6) == 100.1


def test_only_jumps_back_are_counted():
    clock = PresentationClock(0.1)
    stamp_all([100.0, 100.1, 0.0, 0.1, 0.2, 90.0, 90.1, 90.2, 50.0, 50.1, 50.05, 50.2], clock=clock)
    assert clock.jumps_back == 2
    clock.resume()
    stamp_all([1.0, 1.1], clock=clock)  # a reconnection is no jump back
    assert clock.jumps_back == 2


def test_after_resume_even_a_small_step_back_is_a_new_clock():
    clock = PresentationClock(0.1)
    assert stamp_all([0.0, 0.2], clock=clock) == [0.0, 0.2]
    clock.resume()
    assert stamp_all([0.0, 0.2], clock=clock) == [0.3, 0.5]


def test_a_wrong_timestamp_ahead_is_replaced_by_one_between_its_neighbours():
    assert stamp_all([1.0, 1.1, 37_600.0, 1.3, 1.4]) == [1.0, 1.1, 1.2, 1.3, 1.4]


def test_a_wrong_timestamp_behind_is_replaced_by_one_between_its_neighbours():
    assert stamp_all([50.0, 50.1, 3.0, 50.3, 50.4]) == [50.0, 50.1, 50.2, 50.3, 50.4]


def test_two_wrong_timestamps_in_a_row_are_replaced():
    assert stamp_all([1.0, 1.1, 900.0, 900.1, 1.4]) == [1.0, 1.1, 1.2, 1.3, 1.4]
    assert stamp_all([1.0, 1.1, 900.0, 7.0, 1.4]) == [1.0, 1.1, 1.2, 1.3, 1.4]


def test_one_wrong_timestamp_in_fifty_is_replaced():
    times = [n / 10 + 37_600 * (n % 50 == 25) for n in range(300)]
    assert stamp_all(times) == [round(n / 10, 6) for n in range(300)]


def test_a_wrong_first_timestamp_is_replaced():
    assert stamp_all([37_600.0, 1.1, 1.2, 1.3]) == [1.0, 1.1, 1.2, 1.3]
    assert stamp_all([1.0, 37_600.0, 1.2, 1.3]) == [1.0, 1.1, 1.2, 1.3]
    assert stamp_all([1.0, 60.0, 60.1, 60.2]) == [1.0, 60.0, 60.1, 60.2]
    assert stamp_all([None, 60.0, 60.1, 60.2]) == [0.0, 60.0, 60.1, 60.2]
    assert stamp_all([7.0]) == [7.0]
    assert stamp_all([]) == []


def test_a_jump_ahead_that_later_frames_confirm_is_kept():
    assert stamp_all([1.0, 1.1, 3600.0, 3600.1, 3600.2]) == [1.0, 1.1, 3600.0, 3600.1, 3600.2]


def test_a_wrong_timestamp_after_a_real_jump_is_replaced():
    assert stamp_all([1.0, 60.0, 9e4, 60.2, 60.3]) == [1.0, 60.0, 60.1, 60.2, 60.3]


def test_only_frames_at_a_jump_are_held():
    clock = PresentationClock(0.1)
    counts = [len(clock.put(n, t)) for n, t in enumerate([1.0, 1.1, 9.0, 9.1, 9.2, 9.3])]
    assert counts == [0, 2, 0, 0, 3, 1]  # the first is held until the second


def test_long_stills_are_not_held():
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
    """Times after a break, for a source that ran from 100 to 100.1 s before it."""
    clock = PresentationClock(0.1)
    assert stamp_all([100.0, 100.1], [7.0, 7.1], clock) == [100.0, 100.1]
    clock.resume()
    return stamp_all(times, [7.1 + passed_seconds] * len(times), clock)


def test_after_a_break_a_new_clock_is_shifted_by_the_time_that_passed():
    assert resumed([0.0, 0.1], 20.0) == [120.1, 120.2]
    assert resumed([9e5, 9e5 + 0.1], 20.0) == [120.1, 120.2]
    assert resumed([None, None], 20.0) == [120.1, 120.2]


def test_after_a_break_a_clock_that_kept_running_is_kept():
    assert resumed([121.0, 121.1], 20.0) == [121.0, 121.1]
    assert resumed([118.5, 118.6], 20.0) == [118.5, 118.6]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.none() | st.floats(-1e6, 1e6), max_size=50))
def test_times_never_decrease(times):
    stamps = stamp_all(times)
    assert stamps == sorted(stamps)
