"""The sections `rules` and `events` of a fleet file."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from co3d.engine.events import ClipSpan, Retention, Rule, Schedule, Span
from co3d.engine.events.schedule import MINUTES_PER_DAY, find_zone
from co3d.engine.fleet_sections import (
    AtLeastZero,
    Count,
    Fraction,
    Name,
    Names,
    Positive,
    Rectangle,
    Section,
)
from co3d.errors import OptionError

CLOCK = re.compile(r"(\d{1,2}):(\d\d)")


def _read_clock(value: Any) -> Any:
    """Read minutes since midnight; YAML converts an unquoted 22:00 to that number already."""
    if isinstance(value, str) and (match := CLOCK.fullmatch(value)) and int(match[2]) < 60:
        return int(match[1]) * 60 + int(match[2])
    if isinstance(value, str):
        raise ValueError("a time of day such as 22:00")
    return value


TimeOfDay = Annotated[
    int, BeforeValidator(_read_clock), Field(ge=0, le=MINUTES_PER_DAY, strict=True)
]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class SpanSection(Section):
    """A time of day on some days of the week."""

    start: TimeOfDay = Field(alias="from")
    end: TimeOfDay = Field(alias="to")
    days: Annotated[list[Day], Field(min_length=1)] | None = None

    def to_span(self) -> Span:
        """Convert to the engine's type."""
        if self.days is None:
            return Span(self.start, self.end)
        return Span(self.start, self.end, tuple(self.days))


class ClipSection(Section):
    """How much video a clip contains; see `ClipSpan`."""

    before_seconds: AtLeastZero = 5.0
    after_seconds: AtLeastZero = 5.0
    most_seconds: Positive = 60.0


class RuleSection(Section):
    """A rule; see `co3d.engine.events.Rule`."""

    name: Name
    labels: Names | None = None
    groups: dict[Name, Names] | None = None
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.5
    end_threshold: Fraction | None = None
    min_seconds: AtLeastZero = 0.0
    cooldown_seconds: AtLeastZero = 0.0
    hold_seconds: AtLeastZero = 5.0
    smooth_seconds: AtLeastZero = 0.0
    smoothing: Literal["exponential", "moving"] = "exponential"
    schedule: Annotated[list[SpanSection], Field(min_length=1)] | None = None
    time_zone: str | None = None
    cameras: Names | None = None
    region: Rectangle | None = None
    update_seconds: Positive | None = 30.0
    picture: bool = True
    clip: ClipSection | None = None

    @model_validator(mode="after")
    def _check(self) -> "RuleSection":
        try:
            if self.time_zone is not None:
                if self.schedule is None:
                    raise OptionError(
                        "got a time_zone without a schedule; add one, or leave it out"
                    )
                find_zone(self.time_zone)
            self.to_rule()
        except OptionError as error:  # pydantic adds the place to a ValueError
            raise ValueError(str(error)) from error
        return self

    def to_rule(self) -> Rule:
        """Convert to the engine's type."""
        return Rule(
            self.name,
            tuple(self.labels or ()),
            {name: tuple(labels) for name, labels in (self.groups or {}).items()},
            threshold=self.threshold,
            end_threshold=self.end_threshold,
            min_seconds=self.min_seconds,
            cooldown_seconds=self.cooldown_seconds,
            hold_seconds=self.hold_seconds,
            smooth_seconds=self.smooth_seconds,
            smoothing=self.smoothing,
            schedule=self._make_schedule(),
            cameras=None if self.cameras is None else tuple(self.cameras),
            region=None if self.region is None else tuple(self.region),  # type: ignore[arg-type]
            update_seconds=self.update_seconds,
            has_picture=self.picture,
            clip=None if self.clip is None else ClipSpan(**self.clip.model_dump()),
        )

    def _make_schedule(self) -> Schedule | None:
        if self.schedule is None:
            return None
        return Schedule(tuple(span.to_span() for span in self.schedule), self.time_zone)


class EventsSection(Section):
    """Where events are kept and for how long; see `Outbox` and `Retention`."""

    folder: Name = "events"
    keep_days: Positive | None = 30.0
    most_bytes: Count = 2 * 10**9

    @property
    def path(self) -> Path:
        """The folder's path, relative to the working directory, as sources are."""
        return Path(self.folder)

    def to_retention(self) -> Retention:
        """Convert to the outbox's type."""
        return Retention(self.keep_days, self.most_bytes)
