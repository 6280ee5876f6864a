"""Labelling one video as it plays: frames in, one prediction for every frame out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from torch import Tensor, nn

from co3d.compiler.program import Program
from co3d.engine.describer import MS_PER_SECOND, Describer
from co3d.engine.labels import TopLabels
from co3d.engine.prediction import Prediction
from co3d.engine.takes import split_at_gaps
from co3d.models import ModelCard
from co3d.runtime import Stream
from co3d.runtime.playing import Ended
from co3d.video import VideoFrame, VideoReader


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

    model: nn.Module | None
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
        top = TopLabels(self.labels, self.top_k, self.threshold)
        describer = Describer(self.card, self.program, top, self.smooth_seconds)
        started = perf_counter()
        if reader.gap == "reset":
            videos = split_at_gaps(reader, self._show)
        else:
            videos = [(0, lambda: self._show(reader))]
        for event in self.stream.play(videos, flush=self.has_end):
            if isinstance(event, Ended):
                if event.error is not None:
                    raise event.error
                describer.start_anew()
                continue
            logits = event.output.cpu()  # which waits for the device
            preprocess_ms = 0.0
            if event.tag is not None:
                newest, preprocess_ms, started = event.tag
                describer.see(newest)
            prediction = describer.describe(
                logits,
                valid=event.valid,
                fresh=event.fresh,
                preprocess_ms=preprocess_ms,
                step_ms=(perf_counter() - started) * MS_PER_SECOND,
                dropped_frames=reader.dropped_frames,
            )
            if prediction is not None:
                yield prediction
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
