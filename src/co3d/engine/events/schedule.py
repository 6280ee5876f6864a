"""The times of day at which a rule is active."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from co3d.errors import OptionError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES_PER_DAY = 24 * 60


@dataclass(frozen=True)
class Span:
    """A time of day on some days of the week.

    Attributes:
        start_minutes, end_minutes: minutes since midnight, 0 to 1440. If the end is not after the
            start, the span continues over midnight into the next day.
        days: the days on which it begins, from `DAYS`.
    """

    start_minutes: int
    end_minutes: int
    days: tuple[str, ...] = DAYS

    def __post_init__(self) -> None:
        """Check the times and days."""
        for minutes in (self.start_minutes, self.end_minutes):
            if not 0 <= minutes <= MINUTES_PER_DAY:
                raise OptionError(
                    f"got {minutes} minutes of a day, expected 0 to {MINUTES_PER_DAY}"
                )
        unknown = [day for day in self.days if day not in DAYS]
        if unknown or not self.days:
            raise OptionError(f"got the days {list(self.days)}, expected some of {', '.join(DAYS)}")

    def holds(self, weekday: int, minutes: float) -> bool:
        """Whether the span contains a time of day on a day of the week (0: Monday)."""
        is_today = DAYS[weekday] in self.days
        if self.start_minutes < self.end_minutes:
            return is_today and self.start_minutes <= minutes < self.end_minutes
        was_yesterday = DAYS[weekday - 1] in self.days
        return (is_today and minutes >= self.start_minutes) or (
            was_yesterday and minutes < self.end_minutes
        )


@dataclass(frozen=True)
class Schedule:
    """A union of spans.

    Attributes:
        spans: at least one.
        time_zone: a name such as "Europe/Berlin"; None for the machine's own.

    Raises:
        OptionError: the time zone is unknown, or there is no span.
    """

    spans: tuple[Span, ...]
    time_zone: str | None = None

    def __post_init__(self) -> None:
        """Check the spans and the time zone."""
        if not self.spans:
            raise OptionError("got a schedule without a span, expected one at least")
        if self.time_zone is not None:
            find_zone(self.time_zone)

    def holds(self, unix_seconds: float) -> bool:
        """Whether a span contains a moment, by local time in the time zone."""
        zone = None if self.time_zone is None else find_zone(self.time_zone)
        moment = datetime.fromtimestamp(unix_seconds, zone)
        minutes = moment.hour * 60 + moment.minute + moment.second / 60
        return any(span.holds(moment.weekday(), minutes) for span in self.spans)


@lru_cache
def find_zone(name: str) -> ZoneInfo:
    """Look up a time zone.

    Raises:
        OptionError: it is unknown.
    """
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError) as error:
        raise OptionError(
            f"got the time zone {name!r}, expected a name such as Europe/Berlin (where none is "
            "known, install the package tzdata)"
        ) from error
