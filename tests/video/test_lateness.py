import pytest

from co3d.video.lateness import DueTimes


def lateness(packets) -> list[float]:
    """How long before its due time each (timestamp, arrival) arrived."""
    due_times = DueTimes()
    return [due_times.find_due_time(seconds, arrival) - arrival for seconds, arrival in packets]


def test_packets_of_a_steady_camera_are_due_when_they_come():
    early = lateness([(n / 10, 100 + n / 10) for n in range(600)])
    assert early == pytest.approx([0.0] * 600, abs=1e-6)


def test_packets_of_a_burst_are_due_over_its_duration():
    early = lateness([(6 * part + n, 100 + 6 * part) for part in range(5) for n in range(6)])
    assert early == pytest.approx([0, 1, 2, 3, 4, 5] * 5)


def test_a_delay_of_one_stall_is_forgotten():
    """A network stall of four seconds does not delay due times for ever."""
    stalled = [(n / 10, 100 + max(n / 10, 4.0)) for n in range(600)]
    early = lateness(stalled)
    assert early[40] == pytest.approx(4.0)
    assert early[-1] == pytest.approx(0.0)


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_reset_clock_starts_new_due_times(jump):
    packets = [(n / 10 + jump * (n >= 50), 100 + n / 10) for n in range(100)]
    assert lateness(packets) == pytest.approx([0.0] * 100, abs=1e-6)
