"""Stream mode: every sampled frame of a video steps the network.

Two predictions are kept per video. For the warm one, the network is initialised with the first
frames until it is full (its receptive field without padding: `first_valid_step` steps), or with the
requested number, and the next frame gives the prediction. The last one comes from the last frame.
The likeliest class at every step is kept, too.

With `fill="replicate"` the first frame is repeated before the video until no zero is left in the
state, so that every step is valid. The warm prediction still waits for as many frames.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.engine.step import TrackStep
from co3d.errors import EmptyVideoError, OptionError
from co3d.evaluation.bad_videos import BAD_VIDEO_ERRORS, exclude
from co3d.evaluation.frame_scores import FrameScores
from co3d.evaluation.frames import read_entry
from co3d.evaluation.jobs import Job
from co3d.evaluation.localisation import match_moments
from co3d.evaluation.playing import Session, VideoPlayer
from co3d.evaluation.records import Doubles, FrameTrace, Integers, VideoRecord, pack
from co3d.evaluation.transient import MILESTONES
from co3d.models import ModelCard
from co3d.runtime import CompiledProgram
from co3d.video import VideoFrame

Fill = Literal["zeros", "replicate"]
FrameReader = Callable[[Manifest, VideoEntry, float], Iterator[VideoFrame]]
"""Yields the frames of an entry for the network, at a rate in Hz."""

WARM, LAST = "warm", "last"


class _Session(Session):
    """A video under evaluation, with its outputs so far."""

    def __init__(self, job: Job, card: ModelCard, *source: Any) -> None:
        super().__init__(job, card, *source)
        self.pts_seconds: list[float] = []
        self.rows: list[Tensor] = []
        self.first_valid: int | None = None

    def keep(self, pts_seconds: float, step: TrackStep) -> None:
        if self.first_valid is None and step.valid:
            self.first_valid = len(self.rows)
        self.rows.append(self._card.probabilities(step.output.float()[None])[0])
        self.pts_seconds.append(pts_seconds)


class StreamEvaluator:
    """Steps the videos of a manifest through a compiled program, several at once.

    Attributes:
        init_frames: frames of each video before its warm prediction.
        together: see `VideoPlayer`.

    Args:
        manifest: where the videos are.
        card: how the network is fed, and what turns its logits into probabilities.
        compiled: of a program in dense rate with edges="start".
        fill: the frames before a video: zeros, or copies of its first frame.
        rate_hz: frames per second for the network.
        init_frames: frames before the warm prediction; None for as many as fill the network.
        read: yields the frames of each video; by default all, by time.
        frame_scores: stores the probabilities of every frame, if given.
        strict: whether a bad video stops the run.
        at_once: videos that are open at a time; see `VideoPlayer`.

    Raises:
        OptionError: `fill` is "replicate", and the network has unlimited memory.
    """

    def __init__(
        self,
        manifest: Manifest,
        card: ModelCard,
        compiled: CompiledProgram,
        *,
        fill: Fill,
        rate_hz: float,
        init_frames: int | None = None,
        read: FrameReader | None = None,
        frame_scores: FrameScores | None = None,
        strict: bool = False,
        at_once: int | None = None,
    ) -> None:
        program = self._program = compiled.program
        # After this many copies of the first frame no later result depends on padding.
        self._copies = _count_copies(program.receptive_field) if fill == "replicate" else 0
        self._player = VideoPlayer(compiled, card, at_once)
        self.together = self._player.together
        self._manifest, self._card = manifest, card
        self._rate_hz, self._strict = rate_hz, strict
        self._frame_scores = frame_scores
        self._read = read or partial(read_entry, decoder_threads=self._player.decoder_threads)
        self.init_frames = program.first_valid_step if init_frames is None else init_frames

    def evaluate(self, jobs: Iterable[Job]) -> Iterator[VideoRecord]:
        """A record per video, in the order in which they end.

        Raises:
            DataError: a bad video, in strict mode.
        """
        with closing(self._player.play(map(self._open, jobs))) as ended:
            for session, error in ended:
                yield self._finish(session, error)

    def _open(self, job: Job) -> _Session:
        read = partial(self._read, self._manifest, job.entry, self._rate_hz)
        return _Session(job, self._card, read, self._copies)

    def _clock(self, session: _Session) -> list[float]:
        """Times of frames since the file's first frame; frames before the start were not stored."""
        first_seconds = session.pts_seconds[0] - (session.job.entry.start_seconds or 0.0)
        return [first_seconds, *session.pts_seconds[1:]]

    def _finish(self, session: _Session, error: Exception | None) -> VideoRecord:
        job, program = session.job, self._program
        if error is not None:
            if not isinstance(error, BAD_VIDEO_ERRORS):
                raise error
            return exclude(job, error, strict=self._strict)
        count = len(session.rows)
        if count == 0:
            gone = f"{job.entry.video_id} has no frame between its start and its end"
            return exclude(job, EmptyVideoError(gone), strict=self._strict)
        first_valid = count if session.first_valid is None else session.first_valid
        rows = torch.stack(session.rows)
        if self._frame_scores is not None:
            self._frame_scores.add(job.index, rows)
        confidences, labels = rows.max(1)
        moments: tuple[array[float], ...] = ()
        moment_labels: tuple[tuple[int, ...], ...] = ()
        if self._manifest.multi_label and job.entry.segments:
            # A result describes the frame of `delay` steps earlier.
            steps = range(first_valid if first_valid < count else 0, count)
            times = [session.pts_seconds[max(0, step - program.delay)] for step in steps]
            chosen, moment_labels = match_moments(job.entry, times, self._clock(session))
            moments = tuple(pack(session.rows[steps[i]]) for i in chosen)
        return VideoRecord(
            index=job.index,
            video_id=job.entry.video_id,
            labels=job.entry.labels,
            scores={
                WARM: pack(session.rows[min(self.init_frames, count - 1)]),
                LAST: pack(session.rows[-1]),
            },
            trace=FrameTrace(
                pts_seconds=array(Doubles, session.pts_seconds),
                labels=array(Integers, labels.tolist()),
                confidences=pack(confidences),
                first_valid=first_valid,
            ),
            moments=moments,
            moment_labels=moment_labels,
            milestones=tuple(
                pack(session.rows[seen - 1])
                for seen in MILESTONES
                if self._manifest.multi_label and seen <= count
            ),
            frames=count,
        )


def _count_copies(receptive_field: int | None) -> int:
    """Number of copies of the first frame after which the state equals endless repetition."""
    if receptive_field is None:
        raise OptionError(
            'cannot evaluate with fill="replicate": got a network with a recurrence, which never '
            'forgets how many copies of the first frame it saw; use fill="zeros"'
        )
    return receptive_field - 1
