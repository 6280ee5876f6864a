import pytest

from co3d.video.lateness import DueTimes


def lateness(packets) -> list[float]:
    """How long before its due time each (timestamp, arrival) came."""
    due_times = DueTimes()
    return [due_times.judge(seconds, arrival) - arrival for seconds, arrival in packets]


def test_packets_of_a_steady_camera_are_due_when_they_come():
    early = lateness([(n / 10, 100 + n / 10) for n in range(600)])
    assert early == pytest.approx([0.0] * 600, abs=1e-6)


def test_what_comes_at_once_has_as_long_as_it_lasts():
    early = lateness([(6 * part + n, 100 + 6 * part) for part in range(5) for n in range(6)])
    assert early == pytest.approx([0, 1, 2, 3, 4, 5] * 5)


def test_time_that_was_lost_once_is_forgotten():
    """A network that stalled for four seconds gives no time for ever after."""
    stalled = [(n / 10, 100 + max(n / 10, 4.0)) for n in range(600)]
    early = lateness(stalled)
    assert early[40] == pytest.approx(4.0)
    assert early[-1] == pytest.approx(0.0)


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_that_starts_anew_starts_anew(jump):
    packets = [(n / 10 + jump * (n >= 50), 100 + n / 10) for n in range(100)]
    assert lateness(packets) == pytest.approx([0.0] * 100, abs=1e-6)
