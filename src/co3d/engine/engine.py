"""The engine: many streams over one compiled program."""

import itertools
import threading
from collections.abc import Mapping

import torch
from torch import Tensor

from co3d.arguments import check_arguments
from co3d.engine.admission import LOAD_LIMIT, Admission, SourceCost, StepCost
from co3d.engine.describer import MS_PER_SECOND, Describer
from co3d.engine.labels import TopLabels, check_display, check_top_k, list_labels
from co3d.engine.playable import explain_unplayable
from co3d.engine.preprocessing import Preprocessor
from co3d.engine.results import Results
from co3d.engine.scheduler import Scheduler
from co3d.engine.share import Share, prepare_share, step_shares
from co3d.engine.step import StepListener
from co3d.engine.thread_clock import ThreadClock
from co3d.engine.track import Policy, Track
from co3d.engine.trial import try_out
from co3d.engine.turn import Act, Turn
from co3d.errors import OptionError, StreamError
from co3d.models import ModelCard
from co3d.runtime import CompiledProgram, Slot, Snapshot

GPU_BATCH = 64


_Turns = list[tuple[Track, Turn]]


class Engine:
    """Labels many streams with one compiled program, each as if it were alone.

    For example::

        engine = co3d.Engine(co3d.compile(program), model.card)
        door = engine.join("door")
        threading.Thread(target=door.follow, args=(co3d.read_video(0, rate_hz=8),)).start()
        for prediction in door:
            print(prediction.top[0])

    Workers choose the tracks that are due (`Scheduler`), step them, and hand predictions on. On a
    CPU there is one worker per thread of PyTorch, and each steps one track at a time on one core; a
    lone track gets all cores. On a GPU one worker steps all tracks that wait, up to 64 at a time.
    Without workers the caller steps the tracks, in its own thread (`step`).

    Args:
        compiled: the program, which makes a result per frame for one classifier of pictures.
        card: how its network is fed.
        workers: threads that step; None as said above, 0 for none.
        batch: tracks that step together at most; None as said above.
        max_streams: how many tracks may join; None for no limit but the machine's.
        load_limit: the share of the workers' time that live tracks may take; None admits all.

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
        # More threads than the program was compiled for would only prepare pictures, and wait.
        self._lone_threads = min(cores, compiled.threads) if is_cpu else cores
        workers = workers if workers is not None else cores if is_cpu else 1
        self._batch = batch if batch is not None else 1 if is_cpu else GPU_BATCH
        for name, value, least in (("workers", workers, 0), ("batch", self._batch, 1)):
            if value < least:
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
        self._cost, self._measuring = StepCost(), threading.Lock()
        self._load_limit = load_limit
        self._admission = Admission(self._cost, max(1, workers), load_limit, max_streams)
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
        snapshot: Snapshot | None = None,
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
            policy: "latest" for live streams: they never wait for the machine, which drops frames
                when it is late. "every" for recordings: nothing is dropped, they take what live
                streams leave of the machine, and their ends are flushed.
            priority: tracks of a higher one step first.
            resets_at_gaps: whether the network starts anew after a gap in a stream's time, so that
                no result mixes what came before and after it.
            snapshot: of a track of the same program, to go on from.
            top_k: labels per prediction, at most; None for 3, or as many as there are.
            threshold: probability that labels must reach to be among them.
            smooth_seconds: time constant of an exponential average of probabilities over time;
                0 for none.
            keeps_pictures: whether predictions hold the picture that they describe.
            results: where predictions go; None for a queue of the track's own. Tracks that share
                one are told apart by `Prediction.track`.
            extra_cost_ms: processor time that each frame takes outside of the engine, of decoding
                for example; it counts when the engine decides who may join. `Track.follow` measures
                it.
            listener: takes the network's outputs as they are; None for predictions, to which
                `top_k`, `threshold`, `smooth_seconds` and `keeps_pictures` belong.

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
        if listener is None:
            top_k = check_top_k(top_k, self.labels, self.compiled.program.name)
            check_display(threshold, smooth_seconds)
            top = TopLabels(self.labels, top_k, threshold)
            listener = Describer(
                self.card,
                self.compiled.program,
                top,
                smooth_seconds,
                keeps_pictures=keeps_pictures,
            )
        if policy == "latest" and self._load_limit is not None:
            self._know_cost()
        slot = self._open_slot(snapshot)
        listener.start_anew(slot.age)
        track = Track(
            f"track {next(self._numbers)}" if name is None else name,
            rate_hz,
            policy,
            priority,
            resets_at_gaps=resets_at_gaps,
            slot=slot,
            listener=listener,
            source_cost=SourceCost(extra_cost_ms / MS_PER_SECOND),
            results=Results() if results is None else results,
            lock=self._lock,
            on_change=self._look_at,
            on_close=self._remove,
        )
        try:
            with self._lock:
                self._seat(track)
        except BaseException:
            slot.close()
            raise
        return track

    def step(self) -> bool:
        """Let the tracks that are due step, in the caller's thread, of an engine without workers.

        Returns:
            Whether there was anything to do.
        """
        with self._lock:
            turns = self._take_turns()
        if not turns:
            return False
        with ThreadClock() as clock:
            while turns:
                turns = self._run(turns, clock, is_lone=True)
        return True

    @property
    def tracks(self) -> Mapping[str, Track]:
        """The tracks that have joined and not ended, by name."""
        with self._lock:
            return dict(self._tracks)

    @property
    def load(self) -> float:
        """The share of the workers' time that live tracks need, from 0; above 1 frames drop."""
        self._know_cost()
        with self._lock:
            return self._admission.load

    @property
    def step_cost_ms(self) -> float:
        """What preprocessing and step of a frame take of a worker's time; see `StepCost`."""
        self._know_cost()
        return self._cost.seconds * MS_PER_SECOND

    def close(self) -> None:
        """End all tracks, without what waits, and the workers after the steps that they are at."""
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

    def _seat(self, track: Track) -> None:
        """Find room for a track, and add it, all of it or nothing; the lock is held."""
        name, is_live = track.name, track.is_live
        if self._is_closed:
            raise StreamError("cannot join: the engine is closed; start another one")
        if name in self._tracks:
            raise OptionError(f"cannot join {name}: a track of that name has joined; name another")
        self._admission.reserve(name, track.rate_hz if is_live else 0.0, track.source_cost)
        self._scheduler.join(name, track.rate_hz, priority=track.priority, is_live=is_live)
        self._tracks[name] = track
        track.take_results()

    def _look_at(self, track: Track) -> None:
        """Let a track step if it can; the lock is held."""
        if track.can_step and self._tracks.get(track.name) is track:
            self._scheduler.mark_ready(track.name)
            self._has_work.notify()

    def _remove(self, track: Track) -> None:
        """Forget a track that ends; the lock is held."""
        del self._tracks[track.name]
        self._scheduler.leave(track.name)
        self._admission.release(track.name)

    def _work(self) -> None:
        """Schedule, run, deliver, until the engine is closed; a worker's thread."""
        turns: _Turns = []
        with ThreadClock() as clock:
            while True:
                if not turns:
                    with self._lock:
                        while not (self._scheduler.ready or self._is_closed):
                            self._has_work.wait()
                        if self._is_closed:
                            return
                        turns = self._take_turns()
                is_lone = len(self._tracks) == 1
                # It counts for this thread alone, and takes 0.1 microseconds.
                torch.set_num_threads(self._lone_threads if is_lone else 1)
                try:
                    turns = self._run(turns, clock, is_lone=is_lone)
                except Exception as error:
                    self._give_up(error)
                    raise

    def _take_turns(self) -> _Turns:
        """What tracks do that are due, as many as step together; the lock is held."""
        turns: _Turns = []
        while self._scheduler.ready and not turns:
            tracks = [self._tracks[name] for name in self._scheduler.take(self._batch)]
            turns = [(track, track.take_turn()) for track in tracks if track.can_step]
        return turns

    def _run(self, turns: _Turns, clock: ThreadClock, *, is_lone: bool) -> _Turns:
        """Carry out some tracks' turns; what fails ends its track, and no other.

        Returns:
            The turns that come next, if that is settled; see `_deliver`.
        """
        clock.start()
        shares: list[Share] = []
        for track, turn in turns:
            if turn.act is Act.END:
                self._end(track)
                continue
            try:
                shares.append(prepare_share(track, turn, self._preprocess, self._blank))
            except Exception as error:  # noqa: BLE001 (handed on with the track's end)
                self._end(track, error)
        if not shares:
            return []
        try:
            result, output, step_ms = step_shares(self.compiled, shares)
        except Exception as error:  # noqa: BLE001 (handed on with the tracks' ends)
            for share in shares:
                self._end(share.track, error)
            return []
        next_turns: _Turns = []
        for share, row, valid, fresh in zip(
            shares, output, result.valid.tolist(), result.fresh.tolist(), strict=True
        ):
            next_turns += self._deliver(share, row, valid, fresh, step_ms)
        # A lone track's step is done by threads whose time this one's does not count.
        if not is_lone or self._lone_threads == 1:
            processor_seconds, elapsed_seconds = clock.stop()
            self._cost.add(processor_seconds / len(shares), elapsed_seconds / len(shares))
        return next_turns

    def _deliver(
        self, share: Share, output: Tensor, valid: bool, fresh: bool, step_ms: float
    ) -> _Turns:
        """Describe what a step gave; the track's next turn where it steps again at once.

        Who takes predictions is woken when it does not. Where tracks step together none steps
        again at once: those that wait come first, to fill the batch.
        """
        track = share.track
        prediction = track.deliver(
            share.turn,
            output,
            valid=valid,
            fresh=fresh,
            began_seconds=share.began_seconds,
            preprocess_ms=share.preprocess_ms,
            step_ms=step_ms,
        )
        if self._batch == 1 and not track.is_live:
            with self._lock:
                may_go_on = track.has_work and not self._is_closed
                if may_go_on and self._scheduler.take_again(track.name):
                    track.take_back(prediction, 1)
                    return [(track, track.take_turn())]
        track.hand_on()
        with self._lock:
            track.take_back(prediction, 1)
            self._look_at(track)
        return []

    def _end(self, track: Track, error: Exception | None = None) -> None:
        track.hand_on()
        with self._lock:
            track.take_back(None, 0)
        track.close(error)

    def _give_up(self, error: Exception) -> None:
        """End everything after a bug of ours, so that nobody waits for ever."""
        with self._lock:
            self._is_closed = True
            self._has_work.notify_all()
            tracks = list(self._tracks.values())
        for track in tracks:
            track.abandon(error)

    def _know_cost(self) -> None:
        """Measure what a step costs, unless some have been counted; one thread does at a time."""
        with self._measuring:
            if not self._cost.seconds:
                try_out(self.compiled, self._preprocess, self._cost, max(1, len(self._workers)))

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        name = self.compiled.program.name
        return f"Engine({name}, {len(self._tracks)} tracks, load={self._admission.load:.0%})"
