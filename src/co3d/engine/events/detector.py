"""Detects when events of one label of one rule begin and end at one camera."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from co3d.engine.events.average import MovingAverage
from co3d.engine.events.event import EndCause, Event, Kind, make_event_id
from co3d.engine.events.rule import Rule
from co3d.engine.smoothing import ExponentialAverage

Change = tuple[Kind, Event]


@dataclass(frozen=True)
class Observation:
    """The probability of a label at a moment.

    Attributes:
        pts_seconds: on the source's clock. unix_seconds: when the picture arrived; None for files.
        probability: of the label.
        is_known: whether the probability is reliable: the window is full and not undersampled.
        has_gap: whether there is a gap in time just before.
    """

    pts_seconds: float
    unix_seconds: float | None
    probability: float
    is_known: bool = True
    has_gap: bool = False


@dataclass
class _Run:
    """A stretch of time in which the label holds; it becomes an event after `min_seconds`."""

    first: Observation
    latest: Observation
    peak: float
    total: float
    predictions: int = 1
    event: Event | None = None
    reported_pts_seconds: float = 0.0

    def add(self, observation: Observation, probability: float) -> None:
        self.latest = observation
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
    """Finds the events of one label; not thread-safe.

    Args:
        rule: the rule. camera, label: names for its events.
        clock: gives Unix time, for schedules of files and for event ids.
    """

    def __init__(self, rule: Rule, camera: str, label: str, clock: Callable[[], float]) -> None:
        self._rule, self._camera, self._label, self._clock = rule, camera, label, clock
        self._exponential = ExponentialAverage(rule.smooth_seconds)
        self._moving = MovingAverage(rule.smooth_seconds)
        self._run: _Run | None = None
        self._last_pts_seconds = -np.inf
        self._unknown_since: float | None = None  # on the source's clock
        self._silent_since: float | None = None  # Unix time
        self._earliest_pts_seconds = -np.inf

    @property
    def event(self) -> Event | None:
        """The open event, if any."""
        return self._run.event if self._run else None

    def update(self, observation: Observation) -> Iterator[Change]:
        """Process the next observation, and yield changes of events."""
        if observation.pts_seconds < self._last_pts_seconds:
            yield from self.end("reset")
            self._earliest_pts_seconds = -np.inf
            self._reset_averages()
        before, self._last_pts_seconds = self._last_pts_seconds, observation.pts_seconds
        self._silent_since = None
        if observation.has_gap or not observation.is_known:
            self._reset_averages()
            if self._unknown_since is None:
                self._unknown_since = before
            if self.event is None:
                self._run = None
            elif observation.pts_seconds - self._unknown_since > self._rule.hold_seconds:
                yield from self.end("unknown")
        if not observation.is_known:
            return
        if self._unknown_since is not None:
            if observation.pts_seconds - self._unknown_since > self._rule.hold_seconds:
                yield from self.end("unknown")
            self._unknown_since = None
        probability = self._smooth(observation)
        if not self._is_scheduled(observation):
            yield from self.end("schedule")
            self._run = None
            return
        yield from self._update_run(observation, probability)

    def note_silence(self, since_unix_seconds: float) -> None:
        """Note that the source has been silent since this time."""
        if self._silent_since is None:
            self._silent_since = since_unix_seconds

    def tick(self, now_unix_seconds: float) -> Iterator[Change]:
        """End the open event if the source has been silent for longer than `hold_seconds`."""
        if self._silent_since is None or self.event is None:
            return
        # If the machine's clock was set back, count from now on.
        self._silent_since = min(self._silent_since, now_unix_seconds)
        if now_unix_seconds - self._silent_since > self._rule.hold_seconds:
            yield from self.end("unknown")

    def end(self, cause: EndCause) -> Iterator[Change]:
        """End the open event, if any, at the latest moment at which the label held."""
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

    def _update_run(self, observation: Observation, probability: float) -> Iterator[Change]:
        run, rule = self._run, self._rule
        if run is None:
            may_begin = observation.pts_seconds >= self._earliest_pts_seconds
            if probability < rule.threshold or not may_begin:
                return
            run = self._run = _Run(observation, observation, probability, probability)
        elif probability < rule.end_level:
            yield from self.end("below")
            self._run = None
            return
        else:
            run.add(observation, probability)
        lasted_seconds = observation.pts_seconds - run.first.pts_seconds
        if run.event is None:
            if lasted_seconds >= rule.min_seconds:
                run.event = self._make_event(run)
                run.reported_pts_seconds = observation.pts_seconds
                yield "start", run.event
        elif (
            rule.update_seconds is not None
            and observation.pts_seconds - run.reported_pts_seconds >= rule.update_seconds
        ):
            run.event = run.describe(run.event)
            run.reported_pts_seconds = observation.pts_seconds
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

    def _is_scheduled(self, observation: Observation) -> bool:
        schedule = self._rule.schedule
        if schedule is None:
            return True
        unix_seconds = observation.unix_seconds
        return schedule.holds(self._clock() if unix_seconds is None else unix_seconds)

    def _smooth(self, observation: Observation) -> float:
        if not self._rule.smooth_seconds:
            return observation.probability
        if self._rule.smoothing == "moving":
            return self._moving.add(observation.pts_seconds, observation.probability)
        values = np.array([observation.probability])
        return float(self._exponential.add(observation.pts_seconds, values)[0])

    def _reset_averages(self) -> None:
        self._moving.reset()
        self._exponential.reset()
