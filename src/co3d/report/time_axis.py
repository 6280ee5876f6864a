"""A time axis that starts at zero, with ticks at whole seconds, minutes or hours."""

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MultipleLocator

MOST_TICKS = 12
MINUTE, HOUR = 60.0, 3600.0
STEPS_SECONDS = (
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    *(number * MINUTE for number in (1, 2, 5, 10, 15, 30)),
    *(number * HOUR for number in (1, 2, 4, 6, 12, 24)),
)


def draw_time_axis(axis: Axes, seconds: float, label: str, note: str) -> None:
    """Let the x axis of a plot span from 0 to `seconds`.

    Args:
        label: name of the axis; the unit of the ticks is appended.
        note: a line below it.
    """
    axis.set_xlim(0, seconds)
    axis.xaxis.set_major_locator(MultipleLocator(choose_step(seconds)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: format_tick(tick, seconds)))
    unit = "seconds" if seconds < MINUTE else "minutes:seconds"
    unit = "hours:minutes" if seconds >= HOUR else unit
    axis.set_xlabel(f"{label}, in {unit}\n{note}".strip())


def choose_step(seconds: float) -> float:
    """Seconds between two ticks, so that there are at most 12."""
    days = 24 * HOUR
    fitting = (step for step in STEPS_SECONDS if seconds / step <= MOST_TICKS)
    return next(fitting, days * -(-seconds // (MOST_TICKS * days)))


def format_tick(tick_seconds: float, axis_seconds: float) -> str:
    """The text of a tick: seconds, m:ss or h:mm by the length of the axis."""
    if axis_seconds < MINUTE:
        return f"{round(tick_seconds, 3):g}"
    whole = round(tick_seconds)
    large = round(HOUR if axis_seconds >= HOUR else MINUTE)
    return f"{whole // large}:{whole % large // (large // 60):02d}"
