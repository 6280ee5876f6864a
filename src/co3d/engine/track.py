"""A track: one stream inside the engine."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Literal, Protocol

import numpy as np
from torch import Tensor

from co3d.engine.action import Action, ActionKind, choose_action
from co3d.engine.admission import SourceCost
from co3d.engine.describer import MS_PER_SECOND
from co3d.engine.intake import Intake
from co3d.engine.mailbox import Mailbox, WaitingFrame
from co3d.engine.metrics import TrackCounts, TrackMetrics
from co3d.engine.prediction import Prediction
from co3d.engine.results import Results, TrackEnded, TrackState
from co3d.engine.step import StepListener, StepOutput, TrackStep
from co3d.errors import Co3dError, StreamError
from co3d.runtime import Slot, Snapshot
from co3d.video import VideoFrame

Policy = Literal["latest", "every"]


class Followed(Protocol):
    """A source of sampled frames, such as a `VideoReader`."""

    @property
    def dropped_frames(self) -> int:
        """Frames dropped so far."""
        ...

    @property
    def elsewhere_seconds(self) -> float:
        """CPU seconds so far of the process that decodes, if it is not this one."""
        ...

    def __iter__(self) -> Iterator[VideoFrame]: ...


class Track:
    """One stream of an engine: takes frames and gives predictions. Made by `Engine.join`.

    One thread pushes frames or follows a reader, another iterates over predictions. Other methods
    may be called from any thread. For example::

        for picture, pts_seconds in camera:
            track.push(picture, pts_seconds)
        track.finish()

        for prediction in track:  # elsewhere
            print(prediction.frame.pts_seconds, prediction.top[0])

    Attributes:
        name: unique in its engine.
        rate_hz: frames per second that the network sees. policy, priority: see `Engine.join`.
        results: the queue for its predictions.
        source_cost: the cost of its frames outside of the engine; `follow` measures it.
    """

    def __init__(
        self,
        name: str,
        rate_hz: float,
        policy: Policy,
        priority: int,
        *,
        resets_at_gaps: bool,
        slot: Slot,
        intake: Intake | None,
        listener: StepListener,
        source_cost: SourceCost,
        results: Results,
        lock: threading.Lock,
        on_change: Callable[["Track"], None],
        on_close: Callable[["Track"], None],
    ) -> None:
        self.name, self.rate_hz, self.policy, self.priority = name, rate_hz, policy, priority
        self.slot, self.results, self.source_cost = slot, results, source_cost
        self.is_live = policy == "latest"
        self._resets_at_gaps = resets_at_gaps
        self._listener = listener
        self._on_change, self._on_close = on_change, on_close
        # All tracks share the engine's lock, with two conditions each.
        self._changed, self._has_room = threading.Condition(lock), threading.Condition(lock)
        self._intake = intake or Intake(
            name, rate_hz, is_live=self.is_live, keeps_gaps=not resets_at_gaps
        )
        self._mailbox = Mailbox(rate_hz, drops_oldest=self.is_live)
        self._counts = TrackCounts()
        self._unpublished: list[Prediction] = []  # guarded by `is_busy`
        self._pushing = threading.Lock()
        self._source_dropped_frames = 0
        self._is_over = self._is_closed = self._leaves_state = False
        self._received_seconds: float | None = None
        self._error: Exception | None = None
        # A thread that sets this owns the slot until it clears it.
        self.is_busy = False

    def push(self, picture: np.ndarray, pts_seconds: float) -> None:
        """Push the next picture, at the source's own rate; it is sampled to `rate_hz` by its time.

        With policy "latest" this returns at once, and the oldest waiting frames are dropped if the
        machine is late. With "every" it waits until there is room, so that another thread must take
        predictions meanwhile.

        Args:
            picture: (H, W, 3) uint8, RGB; do not write to it afterwards.
            pts_seconds: its time on the source's clock, after that of the picture before.

        Raises:
            InputShapeError: the picture has another shape or dtype.
            StreamError: its time is not after the one before, or the track is finished or closed.
        """
        with self._pushing:
            frames = self._intake.push(picture, pts_seconds)
            if self._is_over or not all(map(self._put, frames)):
                raise StreamError(
                    f"cannot push to {self.name}: it is finished or closed; join again"
                )

    def follow(
        self,
        reader: Followed,
        see_first: Callable[[VideoFrame], VideoFrame] | None = None,
    ) -> None:
        """Push all frames of a reader that samples to `rate_hz`, until it ends or the track does.

        An error of the reader ends the track, after the frames before it are described.

        Args:
            see_first: called with the first frame; the frame that it returns is pushed.
        """
        error: Exception | None = None
        try:
            began = time.thread_time() + reader.elsewhere_seconds
            note = self.source_cost.expect
            for frame in reader:
                shown = frame if see_first is None else see_first(frame)
                see_first = None
                if not self.feed(shown, dropped_frames=reader.dropped_frames):
                    break
                # This thread decodes, unless another process does.
                now = time.thread_time() + reader.elsewhere_seconds
                note(now - began)
                began, note = now, self.source_cost.add
        except Co3dError as raised:
            error = raised
        finally:  # other exceptions, such as those of the reader's listener, are the caller's
            self.finish(error)

    def feed(
        self, frame: VideoFrame, pixels: Tensor | None = None, *, dropped_frames: int = 0
    ) -> bool:
        """Push the next frame of a source that samples to `rate_hz` and marks its gaps.

        Args:
            pixels: the preprocessed frame, (1, 3, H, W), if there is one.
            dropped_frames: frames that the source has dropped so far.

        Returns:
            Whether the track takes more; False once it has ended.
        """
        self._source_dropped_frames = dropped_frames
        with self._pushing:
            return self._put(self._intake.take_over(frame, pixels))

    def finish(self, error: Exception | None = None) -> None:
        """End the track after its waiting frames; consumers then get `error`, if any.

        With policy "every" the network is flushed to describe the last `delay` frames too.
        """
        with self._pushing:
            for waiting in () if self._leaves_state else self._intake.finish():
                self._put(waiting)
        with self._changed:
            if not self._is_over:
                self._is_over, self._error = True, error
                self._on_change(self)

    def reset(self) -> None:
        """Start a new video with the next picture, whose time may be any.

        Frames pushed before are described as the end of the old video.
        """
        with self._pushing:
            for waiting in self._intake.finish():
                self._put(waiting)
            self._intake.start_anew()

    def snapshot(self) -> Snapshot:
        """Copy the network's state after the latest step; `Engine.join` can continue from it.

        Raises:
            StreamError: the track is closed.
        """
        self._acquire_slot()
        try:
            return self.slot.snapshot()
        finally:
            self._release_slot()

    def leave_state(self) -> None:
        """Keep the track's state when it ends, in its `TrackEnded`, to continue from it later.

        Waiting frames are described, but the network is not flushed. A track of a source that is
        not live has no such state, because its frames have no time of arrival.
        """
        self._leaves_state = True

    def close(self, error: Exception | None = None) -> None:
        """End the track at once; waiting frames are dropped. Further calls do nothing.

        Args:
            error: why, for consumers of the predictions; None for the error given to `finish`.
        """
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = self._is_over = True
            self._error = error or self._error
            self._has_room.notify_all()
            while self.is_busy:
                self._changed.wait()
            self._on_close(self)
        state = self._copy_state()
        self.slot.close()
        self.results.end(TrackEnded(self.name, self._error, state), self._notify_room)

    def metrics(self) -> TrackMetrics:
        """Counts and times so far."""
        with self._changed:
            return self._counts.read(self._intake.pictures, self.dropped_frames)

    @property
    def dropped_frames(self) -> int:
        """Frames dropped so far, by the track and by its source."""
        return self._mailbox.dropped_frames + self._source_dropped_frames

    @property
    def has_ended(self) -> bool:
        """Whether the track has ended."""
        return self._is_closed

    @property
    def error(self) -> Exception | None:
        """The error with which it ends or has ended, if any."""
        return self._error

    def __iter__(self) -> Iterator[Prediction]:
        """Yield predictions in order until the track's end; raises the error given to `finish`.

        Only for tracks with a results queue of their own.
        """
        for item in self.results:
            if isinstance(item, Prediction):
                yield item
            elif isinstance(item, TrackEnded) and item.error is not None:
                raise item.error

    # The methods below are for the engine.

    def join_results(self) -> None:
        """Register with the results queue, when the track has joined; the lock is held."""
        self.results.join(self._notify_room)

    @property
    def can_step(self) -> bool:
        """Whether a worker can step it now: it has work, and no thread owns its slot."""
        return self.has_work and not self.is_busy

    @property
    def has_work(self) -> bool:
        """Whether there is something to step or to end, and room for its predictions."""
        if self._is_closed:
            return False
        if not self.is_live and self.results.room <= len(self._unpublished):
            return False
        return bool(len(self._mailbox) or self._is_over or self.slot.remaining)

    def begin_action(self) -> Action:
        """Choose the next action; the caller owns the slot until `end_action`. The lock is held."""
        self.is_busy = True
        action = choose_action(
            self.slot,
            self._mailbox,
            has_end=not (self.is_live or self._leaves_state),
            resets_at_gaps=self._resets_at_gaps,
        )
        if action.waiting is not None and self._mailbox.is_half_empty:
            self._has_room.notify_all()
        return action

    def end_action(self, prediction: Prediction | None, steps: int) -> None:
        """End an action, with the prediction that it made; the lock is held."""
        self.is_busy = False
        self._counts.steps += steps
        if prediction is not None:
            self._counts.add(prediction, time.monotonic())
        self._changed.notify_all()

    def prepare(self, action: Action) -> None:
        """Prepare the slot for an action: reset it before the first frame of a video."""
        if action.kind is ActionKind.RESET_AND_STEP:
            self.slot.reset()
            self._listener.start_anew()
        if action.waiting is not None:
            self._received_seconds = action.waiting.frame.received_seconds

    def deliver(self, action: Action, made: StepOutput) -> Prediction | None:
        """Turn a step's output into a prediction, for `publish`."""
        frame, queue_ms = None, 0.0
        if action.waiting is not None:
            frame = action.waiting.frame
            queue_ms = (made.began_seconds - action.waiting.since_seconds) * MS_PER_SECOND
        prediction = self._listener.describe(
            TrackStep(
                self.name,
                frame,
                made.output,
                valid=made.valid,
                fresh=made.fresh,
                preprocess_ms=made.preprocess_ms,
                step_ms=made.step_ms,
                queue_ms=queue_ms,
                dropped_frames=self.dropped_frames,
            )
        )
        if prediction is not None:
            self._unpublished.append(prediction)
        return prediction

    def publish(self) -> None:
        """Publish predictions to the results queue; the caller owns the slot."""
        if self._unpublished:
            self.results.put(self._unpublished, drops_oldest=self.is_live)
            self._unpublished.clear()

    def abandon(self, error: Exception) -> None:
        """End after an internal error, without closing the slot, which a thread may still use."""
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = self._is_over = True
            self._on_close(self)
            self._changed.notify_all()
            self._has_room.notify_all()
        self.results.end(TrackEnded(self.name, error), self._notify_room)

    def _copy_state(self) -> TrackState | None:
        """The state to leave, unless the track ends with an error; the caller owns the slot."""
        received_seconds = self._received_seconds
        if not self._leaves_state or self._error is not None or received_seconds is None:
            return None
        intake = self._intake
        times = received_seconds, intake.longest_seconds
        return TrackState(self.slot.snapshot(), *times, intake, self._listener)

    def _put(self, waiting: WaitingFrame) -> bool:
        """Queue a frame; returns False if the track has ended."""
        with self._changed:
            while not (self._mailbox.has_room or self._is_over):
                self._has_room.wait()
            if self._is_over:
                return False
            self._mailbox.put(waiting)
            self._on_change(self)
            return True

    def _acquire_slot(self) -> None:
        with self._changed:
            while self.is_busy:
                self._changed.wait()
            if self._is_closed:
                raise StreamError(f"cannot copy {self.name}: it is closed; copy it before")
            self.is_busy = True

    def _release_slot(self) -> None:
        with self._changed:
            self.is_busy = False
            self._changed.notify_all()
            self._on_change(self)

    def _notify_room(self) -> None:
        with self._changed:
            self._on_change(self)

    def __enter__(self) -> "Track":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Track({self.name!r}, rate_hz={self.rate_hz:g}, policy={self.policy!r})"
