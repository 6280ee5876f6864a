"""Play videos of a manifest through the engine, several at once, each in its own track."""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from co3d.engine import Engine, Results, Track, TrackEnded
from co3d.engine.step import TrackStep
from co3d.evaluation.jobs import Job
from co3d.models import ModelCard
from co3d.runtime import CompiledProgram
from co3d.video import VideoFrame


class Session:
    """A video under evaluation, and the network's outputs so far: a `StepListener`.

    Attributes:
        job: the video.

    Args:
        card: how the network is fed.
        read: opens the video's frames.
        copies: how often the first frame is repeated before the video; their results are dropped.
    """

    def __init__(
        self, job: Job, card: ModelCard, read: Callable[[], Iterator[VideoFrame]], copies: int = 0
    ) -> None:
        self.job = job
        self._card, self._read = card, read
        self._copies, self._copies_left = copies, copies

    def keep(self, pts_seconds: float, step: TrackStep) -> None:
        """Store the outputs of a step whose newest frame has this time."""
        raise NotImplementedError

    def show(self) -> Generator[tuple[VideoFrame, Tensor], None, None]:
        """Frames without their pictures, with the network's inputs (1, 3, H, W)."""
        copies = self._copies
        for frame in self._read():
            pixels, shown = self._card.preprocess(frame.image), frame.without_picture()
            for _ in range(copies + 1):
                yield shown, pixels
            copies = 0

    def start_anew(self, age: int = 0) -> None:
        """Do nothing: a session plays one video, which starts once."""

    def describe(self, step: TrackStep) -> None:
        """Store a step's result, except for repeated first frames and blank frames."""
        if step.frame is None:
            return
        if self._copies_left:
            self._copies_left -= 1
            return
        self.keep(step.frame.pts_seconds, step)


S = TypeVar("S", bound=Session)


@dataclass(frozen=True)
class _Playing(Generic[S]):
    """A video at work."""

    session: S
    track: Track
    feeder: threading.Thread


class VideoPlayer:
    """Steps videos through a compiled program, with the same results as each alone.

    On a CPU a worker per core steps one video at a time on one core, while a thread per video
    decodes and preprocesses at most 16 frames ahead. On a GPU the videos step together.

    Attributes:
        together: the most videos in one step; on a GPU, results may differ by rounding with it.
        decoder_threads: for each video; None for one per core.

    Args:
        compiled: the program, with a result at every frame.
        card: how the network is fed.
        at_once: videos that are open at a time; None for the number of cores (on a GPU one) plus
            one, so that no worker waits while a video is opened.
    """

    def __init__(
        self, compiled: CompiledProgram, card: ModelCard, at_once: int | None = None
    ) -> None:
        self._compiled = compiled
        self._card = replace(card, labels=())  # outputs are stored raw, and may be features
        cores, is_cpu = torch.get_num_threads(), compiled.device.type == "cpu"
        self._at_once = at_once or (cores + 1 if is_cpu else 1)
        self._workers = min(cores, self._at_once) if is_cpu else 1
        self.together = 1 if is_cpu else self._at_once
        self.decoder_threads = None if self._at_once == 1 else 1

    def play(self, sessions: Iterable[S]) -> Generator[tuple[S, Exception | None], None, None]:
        """Play videos to their ends, and yield each with its error, if any.

        Closing the generator stops the videos in progress.
        """
        results, waiting = Results(), iter(sessions)
        playing: dict[str, _Playing[S]] = {}
        results.hold()
        items = iter(results)
        with Engine(
            self._compiled,
            self._card,
            workers=self._workers,
            batch=self.together,
            load_limit=None,
        ) as engine:
            try:
                while True:
                    while len(playing) < self._at_once:
                        session = next(waiting, None)
                        if session is None:
                            break
                        begun = self._begin(engine, session, results)
                        playing[begun.track.name] = begun
                    if not playing:
                        return
                    ended = next(items)
                    assert isinstance(ended, TrackEnded)  # sessions yield no predictions
                    over = playing.pop(ended.track)
                    over.feeder.join()
                    yield over.session, ended.error
            finally:
                for one in playing.values():
                    one.track.close()
                for one in playing.values():
                    one.feeder.join()

    def _begin(self, engine: Engine, session: S, results: Results) -> _Playing[S]:
        track = engine.join(policy="every", resets_at_gaps=False, results=results, listener=session)
        feeder = threading.Thread(
            target=self._feed, args=(track, session), name="co3d reads ahead", daemon=True
        )
        feeder.start()
        return _Playing(session, track, feeder)

    def _feed(self, track: Track, session: Session) -> None:
        if self._at_once > 1:
            torch.set_num_threads(1)  # for this thread alone
        error: Exception | None = None
        try:
            with closing(session.show()) as frames:
                for frame, pixels in frames:
                    if not track.feed(frame, pixels):
                        break
        except Exception as raised:  # noqa: BLE001 (reported with the video's end)
            error = raised
        track.finish(error)
