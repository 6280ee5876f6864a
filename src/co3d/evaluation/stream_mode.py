"""Stream mode: every sampled frame of a video steps one stream, as in arXiv:2106.00050.

Two predictions are kept of each video. The warm one is the paper's: the network is initialised on
the first frames until it is full (its receptive field without the padding: `first_valid_step`
steps), or on as many as are asked for, and the next frame gives the prediction. The last one is
that of the last frame. Besides, the likeliest class at every step is kept.

With `fill="replicate"` the network has seen the first frame forever when a video begins: no zero is
left in its state, and every step is valid. The warm prediction still waits for as many frames.
"""

from array import array
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from co3d.datasets.manifest import Manifest
from co3d.errors import EmptyVideoError
from co3d.evaluation.bad_videos import BAD_VIDEO_ERRORS, exclude
from co3d.evaluation.frames import read_entry
from co3d.evaluation.jobs import Job
from co3d.evaluation.localisation import judge_moments
from co3d.evaluation.read_ahead import read_ahead
from co3d.evaluation.records import Doubles, FrameTrace, Integers, VideoRecord, pack
from co3d.evaluation.transient import MILESTONES
from co3d.models import ModelCard
from co3d.runtime import Stream

Fill = Literal["zeros", "replicate"]
WARM, LAST = "warm", "last"
FRAMES_AHEAD = 16
"""Decoded while the network works. Clips are not: their network takes all cores as it is."""


@dataclass
class _Showing:
    """A video on its way through a slot: what comes, and what was said so far."""

    job: Job
    frames: Generator[tuple[Tensor, float | None], None, None]
    begun: bool = False
    pts_seconds: list[float] = field(default_factory=list)
    rows: list[Tensor] = field(default_factory=list)
    first_valid: int | None = None


class StreamEvaluator:
    """Steps the videos of a manifest through the slots of one stream.

    Attributes:
        init_frames: frames of each video before its warm prediction.

    Args:
        manifest: where the videos are.
        card: how the network is fed, and what turns its logits into probabilities.
        stream: open, of a program in dense rate with edges="start".
        fill: what the network has seen before a video's first frame.
        rate_hz: frames per second that it is shown.
        init_frames: that come before the warm prediction; None for as many as fill the network.
        strict: whether a bad video stops the run.
    """

    def __init__(
        self,
        manifest: Manifest,
        card: ModelCard,
        stream: Stream,
        *,
        fill: Fill,
        rate_hz: float,
        init_frames: int | None = None,
        strict: bool = False,
    ) -> None:
        self._manifest, self._card, self._stream = manifest, card, stream
        self._rate_hz, self._strict = rate_hz, strict
        self.init_frames = stream.program.first_valid_step if init_frames is None else init_frames
        # So many copies of the first frame leave no padding in what follows.
        self._copies = stream.program.receptive_field - 1 if fill == "replicate" else 0

    def evaluate(self, jobs: Iterable[Job]) -> Iterator[VideoRecord]:
        """A record per video, in the order in which they end.

        Raises:
            DataError: a bad video, in strict mode.
        """
        showings: dict[int, _Showing] = {}
        try:
            yield from self._show(iter(jobs), showings)
        finally:  # strict mode and Ctrl-C leave videos unfinished
            for showing in showings.values():
                showing.frames.close()

    def _show(
        self, waiting: Iterator[Job], showings: dict[int, _Showing]
    ) -> Generator[VideoRecord, None, None]:
        while True:
            frames: dict[int, tuple[Tensor, float | None]] = {}
            for slot in range(self._stream.slots):
                while slot not in frames:
                    if slot not in showings:
                        job = next(waiting, None)
                        if job is None:
                            break
                        showings[slot] = _Showing(job, read_ahead(self._read(job), FRAMES_AHEAD))
                    following = self._next_frame(showings[slot])
                    if isinstance(following, VideoRecord):
                        del showings[slot]
                        yield following
                    else:
                        frames[slot] = following
            if not frames:
                return
            self._step(showings, frames)

    def _read(self, job: Job) -> Generator[tuple[Tensor, float | None], None, None]:
        """Preprocessed frames with their times; the copies of the first one have none."""
        copies = self._copies
        for frame in read_entry(self._manifest, job.entry, self._rate_hz):
            pixels = self._card.preprocess(frame.image)
            while copies:
                yield pixels, None
                copies -= 1
            yield pixels, frame.pts_seconds

    def _next_frame(self, showing: _Showing) -> tuple[Tensor, float | None] | VideoRecord:
        """The next frame of a video, or its record when there is none."""
        try:
            following = next(showing.frames, None)
        except BAD_VIDEO_ERRORS as error:
            return exclude(showing.job, error, strict=self._strict)
        return following or self._finish(showing)

    def _step(
        self,
        showings: Mapping[int, _Showing],
        frames: Mapping[int, tuple[Tensor, float | None]],
    ) -> None:
        batch = torch.zeros(self._stream.slots, *self._stream.program.frame_shape)
        active, reset = (torch.zeros(self._stream.slots, dtype=torch.bool) for _ in range(2))
        for slot, (pixels, _) in frames.items():
            batch[slot] = pixels[0]
            active[slot] = True
            reset[slot] = not showings[slot].begun
            showings[slot].begun = True
        result = self._stream.step(batch, active=active, reset=reset)
        probabilities = self._card.probabilities(result.output.float()).cpu()
        for slot, (_, pts_seconds) in frames.items():
            if pts_seconds is None:
                continue
            showing = showings[slot]
            if showing.first_valid is None and result.valid[slot]:
                showing.first_valid = len(showing.rows)
            showing.rows.append(probabilities[slot])
            showing.pts_seconds.append(pts_seconds)

    def _clock(self, showing: _Showing) -> list[float]:
        """Times of frames from the file's first on; what came before the start was not kept."""
        first_seconds = showing.pts_seconds[0] - (showing.job.entry.start_seconds or 0.0)
        return [first_seconds, *showing.pts_seconds[1:]]

    def _finish(self, showing: _Showing) -> VideoRecord:
        job, program = showing.job, self._stream.program
        count = len(showing.rows)
        if count == 0:
            gone = f"{job.entry.video_id} has no frame between its start and its end"
            return exclude(job, EmptyVideoError(gone), strict=self._strict)
        first_valid = count if showing.first_valid is None else showing.first_valid
        confidences, labels = torch.stack(showing.rows).max(1)
        moments: tuple[array[float], ...] = ()
        moment_labels: tuple[tuple[int, ...], ...] = ()
        if self._manifest.multi_label and job.entry.segments:
            # A result describes the frame that came `delay` steps before it.
            judged = range(first_valid if first_valid < count else 0, count)
            times = [showing.pts_seconds[max(0, step - program.delay)] for step in judged]
            chosen, moment_labels = judge_moments(job.entry, times, self._clock(showing))
            moments = tuple(pack(showing.rows[judged[i]]) for i in chosen)
        return VideoRecord(
            index=job.index,
            video_id=job.entry.video_id,
            labels=job.entry.labels,
            scores={
                WARM: pack(showing.rows[min(self.init_frames, count - 1)]),
                LAST: pack(showing.rows[-1]),
            },
            trace=FrameTrace(
                pts_seconds=array(Doubles, showing.pts_seconds),
                labels=array(Integers, labels.tolist()),
                confidences=pack(confidences),
                first_valid=first_valid,
            ),
            moments=moments,
            moment_labels=moment_labels,
            milestones=tuple(
                pack(showing.rows[seen - 1])
                for seen in MILESTONES
                if self._manifest.multi_label and seen <= count
            ),
            frames=count,
        )
