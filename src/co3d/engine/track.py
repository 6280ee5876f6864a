"""A track: one stream inside the engine."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Literal, Protocol

import numpy as np
from torch import Tensor

from co3d.engine.admission import SourceCost
from co3d.engine.describer import MS_PER_SECOND
from co3d.engine.intake import Intake
from co3d.engine.mailbox import Mailbox, WaitingFrame
from co3d.engine.metrics import TrackCounts, TrackMetrics
from co3d.engine.prediction import Prediction
from co3d.engine.results import Results, TrackEnded, TrackState
from co3d.engine.step import StepListener, TrackStep
from co3d.engine.turn import Act, Turn, choose_turn
from co3d.errors import Co3dError, StreamError
from co3d.runtime import Slot, Snapshot
from co3d.video import VideoFrame

Policy = Literal["latest", "every"]


class Followed(Protocol):
    """What gives a track its frames: a `VideoReader`, say."""

    @property
    def dropped_frames(self) -> int:
        """Frames thrown away so far."""
        ...

    def __iter__(self) -> Iterator[VideoFrame]: ...


class Track:
    """Frames in, predictions out, of one stream. Made by `Engine.join`.

    One thread pushes, or follows a reader; another iterates. Everything else may be called from
    any thread. For example::

        for picture, pts_seconds in camera:
            track.push(picture, pts_seconds)
        track.finish()

        for prediction in track:  # elsewhere
            print(prediction.frame.pts_seconds, prediction.top[0])

    Attributes:
        name: unique in its engine.
        rate_hz: frames per second that the network sees. policy, priority: see `Engine.join`.
        results: where its predictions go.
        source_cost: what its frames cost outside of the engine; `follow` measures it.
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
        # The engine's lock guards all tracks; each has those of its own who wait.
        self._changed, self._has_room = threading.Condition(lock), threading.Condition(lock)
        self._intake = Intake(name, rate_hz, is_live=self.is_live, keeps_gaps=not resets_at_gaps)
        self._mailbox = Mailbox(rate_hz, drops_oldest=self.is_live)
        self._counts = TrackCounts()
        self._made: list[Prediction] = []  # of whoever uses the slot
        self._pushing = threading.Lock()
        self._source_dropped_frames = 0
        self._is_over = self._is_closed = self._leaves_state = False
        self._received_seconds: float | None = None
        self._error: Exception | None = None
        # Whoever sets this uses the slot until it unsets it.
        self.is_busy = False

    def push(self, picture: np.ndarray, pts_seconds: float) -> None:
        """Give the next picture, at the source's own rate; it is sampled to `rate_hz` by its time.

        With policy "latest" this returns at once; a machine that is late drops waiting frames, the
        oldest first. With "every" it waits until there is room, so somebody must take predictions
        meanwhile, in another thread.

        Args:
            picture: (H, W, 3) uint8, RGB; do not write to it afterwards.
            pts_seconds: when it was taken, on a clock of the source's; later than the one before.

        Raises:
            InputShapeError: the picture is of another shape or kind.
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

        What the reader raises ends the track, once all that came before it is described.

        Args:
            see_first: sees the first frame before the network does; what it gives is pushed.
        """
        error: Exception | None = None
        try:
            began = time.thread_time()
            for frame in reader:
                shown = frame if see_first is None else see_first(frame)
                see_first = None
                if not self.feed(shown, dropped_frames=reader.dropped_frames):
                    break
                now = time.thread_time()  # of this thread, which decodes
                self.source_cost.add(now - began)
                began = now
        except Co3dError as raised:
            error = raised
        finally:  # whatever a listener of the reader raises is the caller's
            self.finish(error)

    def feed(
        self, frame: VideoFrame, pixels: Tensor | None = None, *, dropped_frames: int = 0
    ) -> bool:
        """Give the next frame of a source that is sampled to `rate_hz` and knows its gaps.

        Args:
            pixels: the frame as the network takes it, (1, 3, H, W), if it is prepared already.
            dropped_frames: that the source has thrown away so far.

        Returns:
            Whether the track takes more; False once it has ended.
        """
        self._source_dropped_frames = dropped_frames
        with self._pushing:
            return self._put(self._intake.take_over(frame, pixels))

    def finish(self, error: Exception | None = None) -> None:
        """No more frames come. Those that wait are described, and `error` is handed on after them.

        With policy "every" the network is flushed to describe the last `delay` frames too.
        """
        with self._pushing:
            for waiting in self._intake.finish():
                self._put(waiting)
        with self._changed:
            if not self._is_over:
                self._is_over, self._error = True, error
                self._on_change(self)

    def reset(self) -> None:
        """Let a new video begin with the next picture, whose time may be any.

        Frames pushed before are described as the end of the old one.
        """
        with self._pushing:
            for waiting in self._intake.finish():
                self._put(waiting)
            self._intake.start_anew()

    def snapshot(self) -> Snapshot:
        """Copy the network's state after the latest step; `Engine.join` goes on from it.

        Raises:
            StreamError: the track is closed.
        """
        self._hold()
        try:
            return self.slot.snapshot()
        finally:
            self._let_go()

    def leave_state(self) -> None:
        """Let the track end as one that goes on later: its `TrackEnded` has its state.

        What waits is described, and nothing is flushed. Of a source that is not live, whose frames
        have no time of arrival, there is no state to leave.
        """
        self._leaves_state = True

    def close(self, error: Exception | None = None) -> None:
        """Throw away what waits, and give the place in the engine back; twice is once.

        Args:
            error: why, for whoever takes the predictions; None for what `finish` was told.
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
        self.results.end(TrackEnded(self.name, self._error, state), self._tell_of_room)

    def metrics(self) -> TrackMetrics:
        """Counts and times so far."""
        with self._changed:
            return self._counts.read(self._intake.pictures, self.dropped_frames)

    @property
    def dropped_frames(self) -> int:
        """Frames thrown away so far, here and in the source."""
        return self._mailbox.dropped_frames + self._source_dropped_frames

    @property
    def has_ended(self) -> bool:
        """Whether it gives nothing more."""
        return self._is_closed

    @property
    def error(self) -> Exception | None:
        """Why it ends or has ended, if with an error."""
        return self._error

    def __iter__(self) -> Iterator[Prediction]:
        """Predictions in order, until the track's end; raises what `finish` was told.

        Only for tracks with results of their own.
        """
        for item in self.results:
            if isinstance(item, Prediction):
                yield item
            elif isinstance(item, TrackEnded) and item.error is not None:
                raise item.error

    # What follows is for the engine. It holds the lock where a name begins with `take`.

    def take_results(self) -> None:
        """Let results go on while this track may add to them: it has joined."""
        self.results.join(self._tell_of_room)

    @property
    def can_step(self) -> bool:
        """Whether there is something to do for a worker."""
        return self.has_work and not self.is_busy

    @property
    def has_work(self) -> bool:
        """The same, whoever uses the slot."""
        if self._is_closed:
            return False
        if not self.is_live and self.results.room <= len(self._made):
            return False
        return bool(len(self._mailbox) or self._is_over or self.slot.remaining)

    def take_turn(self) -> Turn:
        """What to do next; the slot is the caller's until `take_back`."""
        self.is_busy = True
        turn = choose_turn(
            self.slot,
            self._mailbox,
            has_end=not (self.is_live or self._leaves_state),
            resets_at_gaps=self._resets_at_gaps,
        )
        if turn.waiting is not None and self._mailbox.is_half_empty:
            self._has_room.notify_all()
        return turn

    def take_back(self, prediction: Prediction | None, steps: int) -> None:
        """A turn is over; this is what it made."""
        self.is_busy = False
        self._counts.steps += steps
        if prediction is not None:
            self._counts.add(prediction, time.monotonic())
        self._changed.notify_all()

    def show(self, turn: Turn) -> None:
        """Prepare the slot for a turn's frame."""
        if turn.act is Act.SHOW_FIRST:
            self.slot.reset()
            self._listener.start_anew()
        if turn.waiting is not None:
            self._received_seconds = turn.waiting.frame.received_seconds

    def deliver(
        self,
        turn: Turn,
        output: Tensor,
        *,
        valid: bool,
        fresh: bool,
        began_seconds: float,
        preprocess_ms: float,
        step_ms: float,
    ) -> Prediction | None:
        """Make a prediction of a step's result, for `hand_on`."""
        frame, queue_ms = None, 0.0
        if turn.waiting is not None:
            frame = turn.waiting.frame
            queue_ms = (began_seconds - turn.waiting.since_seconds) * MS_PER_SECOND
        prediction = self._listener.describe(
            TrackStep(
                self.name,
                frame,
                output,
                valid=valid,
                fresh=fresh,
                preprocess_ms=preprocess_ms,
                step_ms=step_ms,
                queue_ms=queue_ms,
                dropped_frames=self.dropped_frames,
            )
        )
        if prediction is not None:
            self._made.append(prediction)
        return prediction

    def hand_on(self) -> None:
        """Put predictions where they are taken, while the slot is the caller's."""
        if self._made:
            self.results.put(self._made, drops_oldest=self.is_live)
            self._made.clear()

    def abandon(self, error: Exception) -> None:
        """End without the slot, of which nobody knows who uses it."""
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = self._is_over = True
            self._on_close(self)
            self._changed.notify_all()
            self._has_room.notify_all()
        self.results.end(TrackEnded(self.name, error), self._tell_of_room)

    def _copy_state(self) -> TrackState | None:
        """What the track leaves, unless it ends by an error; nobody else uses the slot."""
        received_seconds = self._received_seconds
        if not self._leaves_state or self._error is not None or received_seconds is None:
            return None
        return TrackState(self.slot.snapshot(), received_seconds, self._intake.longest_seconds)

    def _put(self, waiting: WaitingFrame) -> bool:
        """Let a frame wait for its step; False when nobody will take it."""
        with self._changed:
            while not (self._mailbox.has_room or self._is_over):
                self._has_room.wait()
            if self._is_over:
                return False
            self._mailbox.put(waiting)
            self._on_change(self)
            return True

    def _hold(self) -> None:
        with self._changed:
            while self.is_busy:
                self._changed.wait()
            if self._is_closed:
                raise StreamError(f"cannot copy {self.name}: it is closed; copy it before")
            self.is_busy = True

    def _let_go(self) -> None:
        with self._changed:
            self.is_busy = False
            self._changed.notify_all()
            self._on_change(self)

    def _tell_of_room(self) -> None:
        with self._changed:
            self._on_change(self)

    def __enter__(self) -> "Track":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Track({self.name!r}, rate_hz={self.rate_hz:g}, policy={self.policy!r})"
