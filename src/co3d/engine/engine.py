"""The engine: many streams over one compiled program."""

import itertools
import math
import threading
from collections.abc import Mapping

import torch

from co3d.arguments import check_arguments
from co3d.engine.action import Action, ActionKind
from co3d.engine.admission import LOAD_LIMIT, Admission, SourceCost, StepCost
from co3d.engine.batch import BatchCall, BatchItem, prepare_item
from co3d.engine.batch_size import MOST_GPU_TRACKS, BatchSize
from co3d.engine.closing import close_at_exit
from co3d.engine.describer import MS_PER_SECOND, make_describer
from co3d.engine.labels import list_labels
from co3d.engine.playable import explain_unplayable
from co3d.engine.preprocessing import Preprocessor
from co3d.engine.results import Results, TrackState
from co3d.engine.scheduler import Scheduler
from co3d.engine.step import StepListener, StepOutput
from co3d.engine.step_cost import measure_step_cost
from co3d.engine.thread_clock import ThreadClock
from co3d.engine.track import Policy, Track
from co3d.errors import OptionError, StreamError
from co3d.models import ModelCard
from co3d.runtime import CompiledProgram, Slot, Snapshot

_Actions = list[tuple[Track, Action]]


class Engine:
    """Labels many independent streams with one compiled program.

    For example::

        engine = co3d.Engine(co3d.compile(program), model.card)
        door = engine.join("door")
        threading.Thread(target=door.follow, args=(co3d.read_video(0, rate_hz=8),)).start()
        for prediction in door:
            print(prediction.top[0])

    Worker threads choose the tracks that are due (`Scheduler`), step them and publish predictions.
    On a CPU there is one worker per PyTorch thread. It steps as many tracks per call as take 5 ms,
    up to 8, one after the other on one core; a track that is alone uses all cores. On a GPU one
    worker steps all waiting tracks in batches of up to 64. Without workers the caller's thread
    steps the tracks (`step`).

    Args:
        compiled: the program, which must make a row of class scores for each frame.
        card: how to prepare pictures for its network.
        workers: threads that step; None as described above, 0 for none.
        batch: the most tracks that step in one call; None as described above.
        max_streams: how many tracks may join; None for no limit but the machine's capacity.
        load_limit: the share of the workers' time that live tracks may use; None admits all.

    Raises:
        OptionError: an argument is out of range.
    """

    @check_arguments(compiled="compile a program first: co3d.compile(program)")
    def __init__(
        self,
        compiled: CompiledProgram,
        card: ModelCard,
        *,
        workers: int | None = None,
        batch: int | None = None,
        max_streams: int | None = None,
        load_limit: float | None = LOAD_LIMIT,
    ) -> None:
        is_cpu = compiled.device.type == "cpu"
        cores = torch.get_num_threads()
        # The program uses no more threads than it was compiled for.
        self._lone_threads = min(cores, compiled.threads) if is_cpu else cores
        workers = workers if workers is not None else cores if is_cpu else 1
        if batch is None and not is_cpu:
            batch = MOST_GPU_TRACKS
        for name, value, least in (("workers", workers, 0), ("batch", batch, 1)):
            if value is not None and value < least:
                raise OptionError(
                    f"cannot start an engine: got {name}={value}, expected {least} or more"
                )
        complaint = explain_unplayable(compiled.program, card, None)
        if complaint is not None:
            raise OptionError(f"cannot start an engine with {compiled.program.name}: {complaint}")
        self.compiled, self.card = compiled, card
        self.labels = list_labels(compiled.program, card)
        self._preprocess = Preprocessor(card, uses_kernel=compiled.backend.startswith("native"))
        self._blank = torch.zeros(1, *compiled.program.frame_shape)
        self._cost = StepCost(max(1, workers) if is_cpu else math.inf)
        self._measuring = threading.Lock()
        self._batch_size = BatchSize(batch, self._cost, workers)
        self._may_repeat = is_cpu
        self._load_limit = load_limit
        limits = load_limit, max_streams, None if is_cpu else cores
        self._admission = Admission(self._cost, max(1, workers), *limits)
        self._scheduler: Scheduler[str] = Scheduler()
        self._tracks: dict[str, Track] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._has_work = threading.Condition(self._lock)
        self._is_closed = False
        self._workers = [
            threading.Thread(target=self._work, name=f"co3d steps {number}", daemon=True)
            for number in range(workers)
        ]
        close_at_exit(self)
        for worker in self._workers:
            worker.start()

    @check_arguments()
    def join(
        self,
        name: str | None = None,
        *,
        rate_hz: float | None = None,
        policy: Policy = "latest",
        priority: int = 0,
        resets_at_gaps: bool = True,
        snapshot: Snapshot | TrackState | None = None,
        top_k: int | None = None,
        threshold: float = 0.0,
        smooth_seconds: float = 0.0,
        keeps_pictures: bool = True,
        results: Results | None = None,
        extra_cost_ms: float = 0.0,
        listener: StepListener | None = None,
    ) -> Track:
        """Add a stream.

        Args:
            name: unique among the engine's tracks; None for "track 1" and so on.
            rate_hz: frames per second that the network sees; None for the card's.
            policy: "latest" for live streams, whose frames are dropped when the machine is late.
                "every" for recordings: no frame is dropped, the last `delay` frames are described
                by a flush, and the track uses only the time that live tracks leave.
            priority: tracks of higher priority step first.
            resets_at_gaps: whether the network is reset after a gap in time, so that no result
                mixes frames from before and after it.
            snapshot: the state of a track of the same program, from which to continue. With the
                `TrackState` of a track (`Track.leave_state`), sampling and smoothing continue too.
            top_k: the most labels per prediction; None for 3, or all where there are fewer.
            threshold: the probability that a label must reach to be listed.
            smooth_seconds: time constant of an exponential average of probabilities over time;
                0 for none.
            keeps_pictures: whether predictions hold the picture that they describe.
            results: the queue for predictions; None for a queue of the track's own. In a shared
                queue `Prediction.track` names the track.
            extra_cost_ms: processor time that each frame takes outside of the engine, such as for
                decoding; admission counts it. `Track.follow` measures it.
            listener: receives the network's raw outputs instead of predictions; `top_k`,
                `threshold`, `smooth_seconds` and `keeps_pictures` are then unused.

        Raises:
            EngineFullError: the machine has no room for it.
            OptionError: an argument is out of range, or the name is taken.
            StreamError: the engine is closed, or the snapshot is of another program.
        """
        rate_hz = self.card.rate_hz if rate_hz is None else rate_hz
        if not 0 < rate_hz < float("inf"):
            raise OptionError(f"cannot join: got rate_hz={rate_hz}, expected a rate above 0")
        if policy not in ("latest", "every"):
            raise OptionError(f"cannot join: got policy={policy!r}, expected 'latest' or 'every'")
        intake, left = None, None
        if isinstance(snapshot, TrackState):
            intake, left, snapshot = snapshot.intake, snapshot.listener, snapshot.snapshot
        listener = listener or left
        if listener is None:
            program, planned = self.compiled.program, (top_k, threshold, smooth_seconds)
            listener = make_describer(
                self.card, program, self.labels, *planned, keeps_pictures=keeps_pictures
            )
        if policy == "latest" and self._load_limit is not None:
            self._ensure_cost()
        slot = self._open_slot(snapshot)
        if listener is not left:
            listener.start_anew(slot.age)
        track = Track(
            f"track {next(self._numbers)}" if name is None else name,
            rate_hz,
            policy,
            priority,
            resets_at_gaps=resets_at_gaps,
            slot=slot,
            intake=intake,
            listener=listener,
            source_cost=SourceCost(extra_cost_ms / MS_PER_SECOND),
            results=Results() if results is None else results,
            lock=self._lock,
            on_change=self._mark_if_ready,
            on_close=self._remove,
        )
        try:
            with self._lock:
                self._admit(track)
        except BaseException:
            slot.close()
            raise
        return track

    def step(self) -> bool:
        """Step the due tracks here, for an engine without workers; returns whether any was due."""
        with self._lock:
            actions = self._begin_actions()
        if not actions:
            return False
        with ThreadClock() as clock:
            while actions:
                actions = self._run(actions, clock, is_lone=True)
        return True

    @property
    def tracks(self) -> Mapping[str, Track]:
        """The tracks that have joined and not ended, by name."""
        with self._lock:
            return dict(self._tracks)

    @property
    def load(self) -> float:
        """The share of the workers' time that live tracks need; above 1 frames are dropped."""
        self._ensure_cost()
        with self._lock:
            return self._admission.load

    @property
    def step_cost_ms(self) -> float:
        """A worker's time for preprocessing and stepping one frame; see `StepCost`."""
        self._ensure_cost()
        return self._cost.seconds * MS_PER_SECOND

    def close(self) -> None:
        """End the workers after their current steps, and all tracks; waiting frames are dropped."""
        with self._lock:
            self._is_closed = True
            self._has_work.notify_all()
        for worker in self._workers:
            worker.join()
        for track in self.tracks.values():
            track.close()

    def _open_slot(self, snapshot: Snapshot | None) -> Slot:
        slot = self.compiled.open()
        try:
            if snapshot is not None:
                slot.restore(snapshot)
        except BaseException:
            slot.close()
            raise
        return slot

    def _admit(self, track: Track) -> None:
        """Reserve capacity for a track and add it, atomically; the lock is held."""
        name, is_live = track.name, track.is_live
        if self._is_closed:
            raise StreamError("cannot join: the engine is closed; start another one")
        if name in self._tracks:
            raise OptionError(f"cannot join {name}: a track of that name has joined; name another")
        self._admission.reserve(name, track.rate_hz if is_live else 0.0, track.source_cost)
        self._scheduler.join(name, track.rate_hz, priority=track.priority, is_live=is_live)
        self._tracks[name] = track
        track.join_results()

    def _mark_if_ready(self, track: Track) -> None:
        """Mark a track as ready if it can step; the lock is held."""
        if track.can_step and self._tracks.get(track.name) is track:
            self._scheduler.mark_ready(track.name)
            self._has_work.notify()

    def _remove(self, track: Track) -> None:
        """Remove a track that ends; the lock is held."""
        del self._tracks[track.name]
        self._scheduler.leave(track.name)
        self._admission.release(track.name)

    def _work(self) -> None:
        """Schedule, run and deliver until the engine is closed; the body of a worker thread."""
        actions: _Actions = []
        with ThreadClock() as clock:
            while True:
                if not actions:
                    with self._lock:
                        while not (self._scheduler.ready or self._is_closed):
                            self._has_work.wait()
                        if self._is_closed:
                            return
                        actions = self._begin_actions()
                is_lone = len(self._tracks) == 1
                # This sets the threads of this thread's operators alone, and takes 0.1 µs.
                torch.set_num_threads(self._lone_threads if is_lone else 1)
                try:
                    actions = self._run(actions, clock, is_lone=is_lone)
                except Exception as error:
                    self._abandon_all(error)
                    raise

    def _begin_actions(self) -> _Actions:
        """Begin the actions of a batch of tracks that are due; the lock is held."""
        actions: _Actions = []
        while self._scheduler.ready and not actions:
            most = self._batch_size.choose(len(self._tracks))
            tracks = [self._tracks[name] for name in self._scheduler.take(most)]
            actions = [(track, track.begin_action()) for track in tracks if track.can_step]
        return actions

    def _run(self, actions: _Actions, clock: ThreadClock, *, is_lone: bool) -> _Actions:
        """Run the actions of a batch of tracks.

        An error in preparing a picture ends that track; an error in the step ends all tracks of the
        batch.

        Returns:
            The actions to run next, where tracks step again at once; see `_deliver`.
        """
        # A lone track may use several threads, but the clock measures this thread alone.
        counts = (not is_lone or self._lone_threads == 1) and self._cost.begin_call(
            track.slot.age for track, _ in actions
        )
        if counts:
            clock.start()
        call = BatchCall()
        items: list[BatchItem] = []
        for track, action in actions:
            if action.kind is ActionKind.END:
                self._end(track)
                continue
            try:
                items.append(prepare_item(track, action, self._preprocess, self._blank))
            except Exception as error:  # noqa: BLE001 (handed on with the track's end)
                self._end(track, error)
        if not items:
            return []
        try:
            made = call.step(self.compiled, self._preprocess, items)
        except Exception as error:  # noqa: BLE001 (handed on with the tracks' ends)
            for item in items:
                self._end(item.track, error)
            return []
        next_actions: _Actions = []
        for item, one in zip(items, made, strict=True):
            next_actions += self._deliver(item, one)
        if counts:
            processor_seconds, elapsed_seconds = clock.stop()
            self._cost.add(processor_seconds / len(items), elapsed_seconds / len(items))
        return next_actions

    def _deliver(self, item: BatchItem, made: StepOutput) -> _Actions:
        """Describe a step's output; returns the track's next action if it steps again at once.

        Only offline tracks on a CPU do, and their predictions are published together afterwards. On
        a GPU other waiting tracks come first, to fill the batch.
        """
        track = item.track
        prediction = track.deliver(item.action, made)
        if self._may_repeat and not track.is_live:
            with self._lock:
                may_repeat = track.has_work and not self._is_closed
                if may_repeat and self._scheduler.repeat(track.name):
                    track.end_action(prediction, 1)
                    return [(track, track.begin_action())]
        track.publish()
        with self._lock:
            track.end_action(prediction, 1)
            self._mark_if_ready(track)
        return []

    def _end(self, track: Track, error: Exception | None = None) -> None:
        track.publish()
        with self._lock:
            track.end_action(None, 0)
        track.close(error)

    def _abandon_all(self, error: Exception) -> None:
        """End all tracks after an internal error, so that no thread waits for ever."""
        with self._lock:
            self._is_closed = True
            self._has_work.notify_all()
            tracks = list(self._tracks.values())
        for track in tracks:
            track.abandon(error)

    def _ensure_cost(self) -> None:
        """Measure the cost of a step unless it is known; one thread at a time."""
        with self._measuring:
            if not self._cost.seconds:
                measure_step_cost(
                    self.compiled, self._preprocess, self._cost, max(1, len(self._workers))
                )

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        name = self.compiled.program.name
        return f"Engine({name}, {len(self._tracks)} tracks, load={self._admission.load:.0%})"
