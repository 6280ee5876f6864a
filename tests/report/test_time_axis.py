import pytest

from co3d.report.time_axis import choose_step, format_tick


@pytest.mark.parametrize(
    ("seconds", "step"),
    [(0.5, 0.1), (10, 1), (59, 5), (60, 5), (600, 60), (3600, 300), (7200, 600), (86_400, 7200)],
)
def test_tick_steps_are_round_numbers(seconds, step):
    assert choose_step(seconds) == step


@pytest.mark.parametrize("days", [1, 2, 11, 30, 400])
def test_there_are_twelve_ticks_at_most(days):
    seconds = days * 86_400
    assert 3 <= seconds / choose_step(seconds) <= 12


@pytest.mark.parametrize(
    ("tick", "axis_seconds", "text"),
    [
        (0.30000000000000004, 1.5, "0.3"),
        (7.0, 59.9, "7"),
        (0.0, 60.0, "0:00"),
        (90.0, 600.0, "1:30"),
        (0.0, 3600.0, "0:00"),
        (5400.0, 7200.0, "1:30"),
        (180_000.0, 200_000.0, "50:00"),
    ],
)
def test_tick_labels_are_written_as_clock_times(tick, axis_seconds, text):
    assert format_tick(tick, axis_seconds) == text
