"""Labelling one video as it plays: frames in, one prediction for every frame out."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from time import perf_counter, time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from co3d.compiler.program import Program
from co3d.engine.smoothing import ExponentialAverage
from co3d.engine.takes import split_at_gaps
from co3d.models import ClipModel, ModelCard
from co3d.runtime import Stream
from co3d.runtime.playing import Ended
from co3d.video import VideoFrame, VideoReader

MS_PER_SECOND = 1000.0


@dataclass(frozen=True)
class Prediction:
    """What the network says about one frame.

    Attributes:
        frame: the frame that is described, not the newest one: the last of the window's.
        from_pts_seconds: time of the first frame in the window. What the network says is an average
            from there to `frame`; without a final pooling over time the two are one.
        seen_pts_seconds: time of the newest frame that the network had seen; it is later than
            `frame.pts_seconds` by the network's delay.
        valid: whether the sliding window was full of real frames, with no gap among them unless
            the reader keeps gaps.
        is_undersampled: new pictures come too rarely for the network's rate, so that most of what
            it has seen are repeats; see `VideoFrame.is_undersampled`.
        probabilities: (K,) float32, in the order of the model's labels; of valid results averaged
            over time where the labeller smooths.
        top: the likeliest labels that reach the labeller's threshold, with their probabilities,
            likeliest first; there may be none.
        preprocess_ms: scaling and normalising the newest frame; 0 for the last `delay` frames.
        step_ms: one step of the network.
        dropped_frames: frames given up so far.
        lag_ms: from the arrival of the newest frame that the network had seen to this prediction;
            None for files, which do not arrive.
    """

    frame: VideoFrame
    from_pts_seconds: float
    seen_pts_seconds: float
    valid: bool
    is_undersampled: bool
    probabilities: np.ndarray
    top: tuple[tuple[str, float], ...]
    preprocess_ms: float
    step_ms: float
    dropped_frames: int
    lag_ms: float | None = None

    @property
    def label(self) -> str | None:
        """The label to show for this frame: the likeliest one; None where there is none to show."""
        return self.top[0][0] if self.valid and self.top else None

    @property
    def why_unlabelled(self) -> str:
        """Why there is no label to show; empty where there is one."""
        if not self.valid:
            return "filling the window"
        return "" if self.top else "no label reaches the threshold"

    @property
    def gap_seconds(self) -> float:
        """The gap just before the frame that is described, in seconds; 0 without one."""
        return self.frame.gap_seconds

    @property
    def latency_ms(self) -> float:
        """Time from having the newest frame to having this prediction: preprocessing and step."""
        return self.preprocess_ms + self.step_ms


@dataclass(frozen=True)
class Labeller:
    """A network made ready to label one video.

    Attributes:
        model: the clip network; None where an exported file runs, which has it no more.
        card: how it is fed. program: its step form.
        stream: the running step program, with one slot.
        labels: K names, index 0 first.
        rate_hz: frames per second that the network sees.
        top_k: labels per prediction, at most.
        has_end: whether the video ends, so that its last `delay` frames are described by a flush.
        threshold: labels with a probability below this are left out of `Prediction.top`.
        smooth_seconds: time constant of the average of probabilities over time, which starts anew
            after a gap and wherever results become valid (see `ExponentialAverage`); 0 for none.
    """

    model: ClipModel | None
    card: ModelCard
    program: Program[Any]
    stream: Stream
    labels: tuple[str, ...]
    rate_hz: float
    top_k: int
    has_end: bool
    threshold: float = 0.0
    smooth_seconds: float = 0.0

    def label(self, reader: VideoReader) -> Iterator[Prediction]:
        """Step through a video and yield a prediction for each of its frames, in order.

        The first `delay` steps describe moments before the first frame and yield nothing. When a
        video with an end is over, the network is flushed to describe its last `delay` frames.

        A gap ends the video and starts a new one, unless the reader keeps gaps: a video with an end
        is flushed, of others the last `delay` frames before a gap are not described.

        Raises:
            DamagedVideoError: the video stopped decoding before its end; raised after the
                predictions for everything that could be decoded.
            InputShapeError: a frame is not an RGB picture of 8 bits per channel.
        """
        waiting: deque[VideoFrame] = deque()
        # Times of the frames in the window: valid results come once it is full.
        window: deque[float] = deque(maxlen=self.program.first_valid_step - self.program.delay + 1)
        average = ExponentialAverage(self.smooth_seconds)
        newest: VideoFrame | None = None
        step, started = 0, perf_counter()
        if reader.gap == "reset":
            videos = split_at_gaps(reader, self._show)
        else:
            videos = [(0, lambda: self._show(reader))]
        for event in self.stream.play(videos, flush=self.has_end):
            if isinstance(event, Ended):
                if event.error is not None:
                    raise event.error
                waiting.clear()
                window.clear()
                step = 0
                continue
            logits = event.output.cpu()  # which waits for the device
            preprocess_ms = 0.0
            if event.tag is not None:
                newest, preprocess_ms, started = event.tag
                waiting.append(newest)
            step_ms = (perf_counter() - started) * MS_PER_SECOND
            # In a video shorter than the delay, the first results describe moments before it began.
            if step >= self.program.delay:
                assert newest is not None
                described = waiting.popleft()
                window.append(described.pts_seconds)
                if described.gap_seconds or not event.valid:
                    average.reset()
                probabilities = self.card.probabilities(logits).numpy()
                if event.valid:
                    probabilities = average.add(described.pts_seconds, probabilities)
                yield self._predict(
                    described,
                    window[0],
                    newest,
                    probabilities,
                    event.valid,
                    preprocess_ms,
                    step_ms,
                    reader.dropped_frames,
                )
            step += 1
            started = perf_counter()

    def _show(
        self, frames: Iterable[VideoFrame]
    ) -> Iterator[tuple[Tensor, tuple[VideoFrame, float, float]]]:
        """Preprocessed frames; with each the frame, how long that took, and when it was ready."""
        for newest in frames:
            started = perf_counter()
            frame = self.card.preprocess(newest.image)
            ready = perf_counter()
            yield frame, (newest, (ready - started) * MS_PER_SECOND, ready)

    def _predict(
        self,
        frame: VideoFrame,
        from_pts_seconds: float,
        newest: VideoFrame,
        probabilities: np.ndarray,
        valid: bool,
        preprocess_ms: float,
        step_ms: float,
        dropped_frames: int,
    ) -> Prediction:
        values, indices = torch.from_numpy(probabilities).topk(self.top_k)
        threshold = float(
            np.float32(self.threshold)
        )  # else a label of just that would not reach it
        return Prediction(
            frame,
            from_pts_seconds,
            newest.pts_seconds,
            valid,
            newest.is_undersampled,
            probabilities,
            tuple(
                (self.labels[index], value)
                for index, value in zip(indices.tolist(), values.tolist(), strict=True)
                if value >= threshold
            ),
            preprocess_ms,
            step_ms,
            dropped_frames,
            lag_ms(newest),
        )


def lag_ms(frame: VideoFrame) -> float | None:
    """Milliseconds since a frame of a live source arrived; None for files."""
    if frame.received_seconds is None:
        return None
    return max(0.0, time() - frame.received_seconds) * MS_PER_SECOND
