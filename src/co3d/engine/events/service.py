"""Turns an engine's results into records in an outbox, with pictures and clips."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from co3d.engine.events.detector import Change
from co3d.engine.events.event import Event, Kind
from co3d.engine.events.media import FAILURES, save_picture
from co3d.engine.events.outbox import NoticeListener, Outbox
from co3d.engine.events.outbox_file import MEDIA_NAME
from co3d.engine.events.rule import ClipSpan, Rule
from co3d.engine.events.rule_book import RuleBook
from co3d.engine.results import ResultItem
from co3d.video.framing import Flip
from co3d.video.packet_ring import PacketRing

POLL_SECONDS = 0.2
TICK_SECONDS = 0.5
MOST_JOBS = 256
_LOG = logging.getLogger("co3d")
LATE_SECONDS = 10.0
"""A clip is cut this long after its last packet was due, even if that packet has not arrived."""

LAG_SECONDS = 5.0
"""The time from a packet's arrival to its prediction that clips allow for."""

GROUP_SECONDS = 10.0
"""The time between two key frames that rings allow for."""


@dataclass(frozen=True)
class View:
    """The packets of a camera, and how to rotate and flip its pictures; see `Camera`."""

    ring: PacketRing
    rotate: int = 0
    flip: Flip | None = None


def find_ring_seconds(rules: Iterable[Rule]) -> float | None:
    """For how long packets must be kept for the rules' pictures and clips; None without any."""
    wanted = [rule for rule in rules if rule.has_picture or rule.clip is not None]
    if not wanted:
        return None
    return max(
        GROUP_SECONDS
        + rule.min_seconds
        + (_count_seconds(rule.clip) if rule.clip is not None else 0.0)
        for rule in wanted
    )


@dataclass
class _Job:
    """A picture or a clip to make.

    Attributes:
        event_id: the event. view: its camera's packets. start_seconds: the event's start, on the
            ring's clock.
        clip: what the clip contains; None for a picture.
        end_seconds: the event's end, on the ring's clock; None while it is open.
        ended_at: when its end was noticed, on the monotonic clock.
    """

    event_id: str
    view: View
    start_seconds: float
    clip: ClipSpan | None
    end_seconds: float | None = None
    ended_at: float = 0.0

    @property
    def until_seconds(self) -> float | None:
        """The clip's end; None while it is not known yet."""
        assert self.clip is not None
        longest = self.start_seconds + self.clip.most_seconds
        if self.end_seconds is not None:
            return min(longest, self.end_seconds) + self.clip.after_seconds
        longest += self.clip.after_seconds
        # Predictions come later than packets: wait in case the event has ended before.
        return longest if self.view.ring.newest_seconds >= longest + LAG_SECONDS else None

    def is_due(self) -> bool:
        """Whether all packets that it needs have arrived."""
        ring = self.view.ring
        if self.clip is None:
            return ring.reaches(self.start_seconds)
        until_seconds = self.until_seconds
        if until_seconds is None:
            return False
        is_late = self.ended_at and (
            time.monotonic() - self.ended_at > self.clip.after_seconds + LATE_SECONDS
        )
        return ring.reaches(until_seconds) or bool(is_late)


class EventService:
    """Applies rules to results of tracks, and appends changes of events to an outbox.

    Its thread makes pictures and clips, and ends events of silent sources.

    Args:
        book: the rules. outbox: stores the records; closed by the caller.
        find_view: gives a camera's packets by its name; None if it has none.
        on_notice: called with a sentence when a picture or clip fails.
    """

    def __init__(
        self,
        book: RuleBook,
        outbox: Outbox,
        find_view: Callable[[str], View | None],
        on_notice: NoticeListener = lambda _: None,
    ) -> None:
        self._book, self._outbox, self._find_view = book, outbox, find_view
        self._on_notice = on_notice
        self._lock = threading.Lock()
        self._jobs: list[_Job] = []
        self._events: dict[str, Event] = {}  # open events, and those with jobs
        self._is_failing = False
        self._wake = threading.Event()
        self._is_closing = self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="co3d makes clips", daemon=True)
        self._thread.start()

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The present rules."""
        return self._book.rules

    def take(self, item: ResultItem) -> None:
        """Process a prediction, a change of a source or the end of a track, without disk access."""
        try:
            with self._lock:
                self._append(self._book.add(item))
        except Exception:  # noqa: BLE001 (an internal error; labelling goes on)
            _LOG.exception("no events were made of a prediction of %s", item.track)

    def replace_rules(self, rules: Iterable[Rule]) -> None:
        """See `RuleBook.replace_rules`."""
        with self._lock:
            self._append(self._book.replace_rules(rules))

    def request_stop(self) -> None:
        """End events as "stopped" from now on; safe to call from a signal handler."""
        self._book.is_stopping = True

    def close(self, grace_seconds: float) -> None:
        """End all events as "stopped", and make their pictures and clips within the grace time."""
        with self._lock:
            self._append(self._book.end_all("stopped"))
        self._is_closing = True
        self._wake.set()
        self._thread.join(grace_seconds)
        self._is_closed = True

    def _append(self, changes: Iterable[Change]) -> None:
        """Append changes to the outbox; the lock is held, so that their order is kept."""
        for kind, changed in changes:
            known = self._events.get(changed.id, changed)
            event = replace(changed, picture=known.picture, clip=known.clip)
            self._events[event.id] = event
            self._plan(kind, event)
            self._outbox.append(kind, event)
            self._forget(event.id)

    def _plan(self, kind: Kind, event: Event) -> None:
        """Plan the picture and clip of an event; the lock is held."""
        if kind == "end":
            for job in self._jobs:
                if job.event_id == event.id:
                    job.end_seconds = _find_moment(event.end_unix_seconds, event.end_pts_seconds)
                    job.ended_at = time.monotonic()
        if kind != "start":
            return
        rule = next((rule for rule in self.rules if rule.name == event.rule), None)
        if rule is None or not (rule.has_picture or rule.clip):
            return
        view = self._find_view(event.camera)
        start_seconds = _find_moment(event.start_unix_seconds, event.start_pts_seconds)
        if view is None or start_seconds is None:
            return
        wanted = [None] if rule.has_picture else []
        wanted += [rule.clip] if rule.clip is not None else []
        if len(self._jobs) + len(wanted) > MOST_JOBS:
            self._notify_failure(event, "too many others are being made")
            return
        self._jobs += [_Job(event.id, view, start_seconds, clip) for clip in wanted]
        self._wake.set()

    def _forget(self, event_id: str) -> None:
        """Drop an event that has ended and has no jobs; the lock is held."""
        event = self._events[event_id]
        if not event.is_open and not any(job.event_id == event_id for job in self._jobs):
            del self._events[event_id]

    def _work(self) -> None:
        """Make pictures and clips, and call `RuleBook.tick`; the body of the thread."""
        next_tick = time.monotonic()
        while not self._is_closed:
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()
            if time.monotonic() >= next_tick:
                next_tick = time.monotonic() + TICK_SECONDS
                with self._lock:
                    self._append(self._book.tick())
            with self._lock:
                due = [job for job in self._jobs if self._is_closing or job.is_due()]
            for job in due:
                if self._is_closed:
                    return
                self._make(job)
            if self._is_closing:
                return

    def _make(self, job: _Job) -> None:
        """Make a picture or a clip, and append a "media" record."""
        suffix = ".jpg" if job.clip is None else ".mkv"
        path = self._outbox.folder / MEDIA_NAME / f"{job.event_id}{suffix}"
        is_made, view = False, job.view
        try:
            if job.clip is None:
                is_made = save_picture(
                    view.ring, job.start_seconds, path, rotate=view.rotate, flip=view.flip
                )
            else:
                until = job.until_seconds or job.start_seconds + job.clip.most_seconds
                start = job.start_seconds - job.clip.before_seconds
                is_made = view.ring.cut(path, start, until) is not None
        except FAILURES as error:
            self._notify_failure(self._events[job.event_id], str(error))
        with self._lock:
            self._jobs.remove(job)
            event = self._events[job.event_id]
            if is_made:
                self._is_failing = False
                change = {"picture": path.name} if job.clip is None else {"clip": path.name}
                event = self._events[job.event_id] = replace(event, **change)
                self._outbox.append("media", event)
            self._forget(job.event_id)

    def _notify_failure(self, event: Event, reason: str) -> None:
        if not self._is_failing:
            self._is_failing = True
            self._on_notice(f"{event.camera}: no picture or clip of event {event.id}: {reason}")


def _find_moment(unix_seconds: float | None, pts_seconds: float | None) -> float | None:
    """The moment on the ring's clock: Unix time for live sources, else the source's clock."""
    return pts_seconds if unix_seconds is None else unix_seconds


def _count_seconds(clip: ClipSpan) -> float:
    return clip.before_seconds + clip.most_seconds + clip.after_seconds
