"""Labels one video as it plays: frames in, one prediction per frame out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from co3d.compiler.program import Program
from co3d.engine.engine import Engine
from co3d.engine.prediction import Prediction
from co3d.engine.results import TrackEnded
from co3d.models import ModelCard
from co3d.runtime import CompiledProgram
from co3d.video import VideoReader


@dataclass(frozen=True)
class Labeller:
    """A compiled network with its settings, to label one video at a time.

    Attributes:
        model: the clip network; None for an exported file, which does not contain it.
        card: how to prepare pictures. compiled: the compiled step program.
        labels: K names, index 0 first.
        rate_hz: frames per second that the network sees.
        top_k: the most labels per prediction.
        has_end: whether the video ends, so that its last `delay` frames are described by a flush.
        threshold: labels with a probability below this are left out of `Prediction.top`.
        smooth_seconds: time constant of the average of probabilities over time, which is reset
            after a gap and whenever results become valid (see `ExponentialAverage`); 0 for none.
    """

    model: nn.Module | None
    card: ModelCard
    compiled: CompiledProgram
    labels: tuple[str, ...]
    rate_hz: float
    top_k: int
    has_end: bool
    threshold: float = 0.0
    smooth_seconds: float = 0.0

    @property
    def program(self) -> Program[Any]:
        """The step program."""
        return self.compiled.program

    def label(self, reader: VideoReader) -> Iterator[Prediction]:
        """Step through a video and yield a prediction for each of its frames, in order.

        The first `delay` steps describe moments before the first frame and yield nothing. At the
        end of a video with `has_end`, the network is flushed to describe the last `delay` frames.

        A gap ends the video and starts a new one, unless the reader keeps gaps. With `has_end` the
        last `delay` frames before a gap are described by a flush, otherwise they are not described.

        All of it runs in the caller's thread, one frame at a time: a frame is read after the
        predictions of earlier steps were yielded.

        Raises:
            DamagedVideoError: the video stopped decoding before its end; raised after the
                predictions for everything that could be decoded.
            InputShapeError: a frame is not an RGB picture of 8 bits per channel.
        """
        with Engine(self.compiled, self.card, workers=0, load_limit=None) as engine:
            track = engine.join(
                "",
                rate_hz=self.rate_hz,
                policy="every" if self.has_end else "latest",
                resets_at_gaps=reader.gap == "reset",
                top_k=self.top_k,
                threshold=self.threshold,
                smooth_seconds=self.smooth_seconds,
            )
            frames, error = iter(reader), None
            while not track.has_ended:
                try:
                    frame = next(frames, None)
                except Exception as raised:  # noqa: BLE001 (raised after all predictions before it)
                    frame, error = None, raised
                if frame is None:
                    track.finish(error)
                else:
                    track.feed(frame, dropped_frames=reader.dropped_frames)
                while engine.step():
                    for item in track.results.take_waiting():
                        if isinstance(item, Prediction):
                            yield item
                        elif isinstance(item, TrackEnded) and item.error is not None:
                            raise item.error
