"""One label of one rule at one camera: when its events begin and end."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from co3d.engine.events.average import MovingAverage
from co3d.engine.events.event import EndCause, Event, Kind, make_event_id
from co3d.engine.events.rule import Rule
from co3d.engine.smoothing import ExponentialAverage

Change = tuple[Kind, Event]


@dataclass(frozen=True)
class Moment:
    """What is said of a label at a moment.

    Attributes:
        pts_seconds: on the source's clock. unix_seconds: when the picture arrived; None for files.
        probability: of the label.
        is_known: whether that can be relied upon.
        has_gap: whether there was no picture for a while just before.
    """

    pts_seconds: float
    unix_seconds: float | None
    probability: float
    is_known: bool = True
    has_gap: bool = False


@dataclass
class _Run:
    """A stretch in which the label holds: an event, or not long enough yet to be one."""

    first: Moment
    latest: Moment
    peak: float
    total: float
    predictions: int = 1
    event: Event | None = None
    told_pts_seconds: float = 0.0

    def add(self, moment: Moment, probability: float) -> None:
        self.latest = moment
        self.peak = max(self.peak, probability)
        self.total += probability
        self.predictions += 1

    def describe(self, event: Event) -> Event:
        return replace(
            event,
            latest_pts_seconds=self.latest.pts_seconds,
            latest_unix_seconds=self.latest.unix_seconds,
            peak=self.peak,
            mean=self.total / self.predictions,
            predictions=self.predictions,
        )


class Detector:
    """Finds the events of one label; not safe for threads.

    Args:
        rule: whose. camera, label: for its events.
        clock: gives Unix time, for schedules of files and for the time in event ids.
    """

    def __init__(self, rule: Rule, camera: str, label: str, clock: Callable[[], float]) -> None:
        self._rule, self._camera, self._label, self._clock = rule, camera, label, clock
        self._exponential = ExponentialAverage(rule.smooth_seconds)
        self._moving = MovingAverage(rule.smooth_seconds)
        self._run: _Run | None = None
        self._last_pts_seconds = -np.inf
        self._unknown_since: float | None = None  # on the source's clock
        self._away_since: float | None = None  # Unix time
        self._earliest_pts_seconds = -np.inf

    @property
    def event(self) -> Event | None:
        """The one that goes on, if any."""
        return self._run.event if self._run else None

    def see(self, moment: Moment) -> Iterator[Change]:
        """What changes with what is said of the next moment."""
        if moment.pts_seconds < self._last_pts_seconds:
            yield from self.end("reset")
            self._earliest_pts_seconds = -np.inf
            self._forget_averages()
        before, self._last_pts_seconds = self._last_pts_seconds, moment.pts_seconds
        self._away_since = None
        if moment.has_gap or not moment.is_known:
            self._forget_averages()
            if self._unknown_since is None:
                self._unknown_since = before
            if self.event is None:
                self._run = None
            elif moment.pts_seconds - self._unknown_since > self._rule.hold_seconds:
                yield from self.end("unknown")
        if not moment.is_known:
            return
        if self._unknown_since is not None:
            if moment.pts_seconds - self._unknown_since > self._rule.hold_seconds:
                yield from self.end("unknown")
            self._unknown_since = None
        probability = self._smooth(moment)
        if not self._is_scheduled(moment):
            yield from self.end("schedule")
            self._run = None
            return
        yield from self._judge(moment, probability)

    def lose_source(self, since_unix_seconds: float) -> None:
        """The source sends nothing since then."""
        if self._away_since is None:
            self._away_since = since_unix_seconds

    def tick(self, now_unix_seconds: float) -> Iterator[Change]:
        """What changes because time passes without anything being said."""
        if self._away_since is None or self.event is None:
            return
        if now_unix_seconds - self._away_since > self._rule.hold_seconds:
            yield from self.end("unknown")

    def end(self, cause: EndCause) -> Iterator[Change]:
        """End the event that goes on, if any, at the latest moment at which it held."""
        run, self._run = self._run, None
        if run is None or run.event is None:
            return
        self._earliest_pts_seconds = run.latest.pts_seconds + self._rule.cooldown_seconds
        yield (
            "end",
            replace(
                run.describe(run.event),
                end_pts_seconds=run.latest.pts_seconds,
                end_unix_seconds=run.latest.unix_seconds,
                cause=cause,
            ),
        )

    def _judge(self, moment: Moment, probability: float) -> Iterator[Change]:
        run, rule = self._run, self._rule
        if run is None:
            may_begin = moment.pts_seconds >= self._earliest_pts_seconds
            if probability < rule.threshold or not may_begin:
                return
            run = self._run = _Run(moment, moment, probability, probability)
        elif probability < rule.end_level:
            yield from self.end("below")
            self._run = None
            return
        else:
            run.add(moment, probability)
        lasted_seconds = moment.pts_seconds - run.first.pts_seconds
        if run.event is None:
            if lasted_seconds >= rule.min_seconds:
                run.event = self._make_event(run)
                run.told_pts_seconds = moment.pts_seconds
                yield "start", run.event
        elif (
            rule.update_seconds is not None
            and moment.pts_seconds - run.told_pts_seconds >= rule.update_seconds
        ):
            run.event = run.describe(run.event)
            run.told_pts_seconds = moment.pts_seconds
            yield "update", run.event

    def _make_event(self, run: _Run) -> Event:
        return run.describe(
            Event(
                make_event_id(self._clock()),
                self._camera,
                self._rule.name,
                self._label,
                run.first.pts_seconds,
                run.first.pts_seconds,
                start_unix_seconds=run.first.unix_seconds,
            )
        )

    def _is_scheduled(self, moment: Moment) -> bool:
        schedule = self._rule.schedule
        if schedule is None:
            return True
        unix_seconds = moment.unix_seconds
        return schedule.holds(self._clock() if unix_seconds is None else unix_seconds)

    def _smooth(self, moment: Moment) -> float:
        if not self._rule.smooth_seconds:
            return moment.probability
        if self._rule.smoothing == "moving":
            return self._moving.add(moment.pts_seconds, moment.probability)
        values = np.array([moment.probability])
        return float(self._exponential.add(moment.pts_seconds, values)[0])

    def _forget_averages(self) -> None:
        self._moving.reset()
        self._exponential.reset()
