"""Turns a network's outputs into predictions about frames."""

from collections import deque
from time import time
from typing import Any

from co3d.compiler.program import Program
from co3d.engine.labels import TopLabels, check_display, check_top_k
from co3d.engine.prediction import Prediction
from co3d.engine.smoothing import ExponentialAverage
from co3d.engine.step import TrackStep
from co3d.models import ModelCard
from co3d.video import VideoFrame

MS_PER_SECOND = 1000.0


class Describer:
    """Pairs the outputs of one stream with the frames that they describe.

    An output describes the frame of `delay` steps before, so that frames are queued here until
    their output comes.

    Args:
        card: turns logits into probabilities. program: the program that makes the outputs.
        top: picks the labels to show.
        smooth_seconds: time constant of the average of probabilities over time, which is reset
            after a gap and whenever results become valid (see `ExponentialAverage`); 0 for none.
        keeps_pictures: whether predictions hold the picture that they describe. A thousand queued
            frames in full HD take 6 GB; without pictures `frame.image` is empty, (0, 0, 3).
    """

    def __init__(
        self,
        card: ModelCard,
        program: Program[Any],
        top: TopLabels,
        smooth_seconds: float = 0.0,
        *,
        keeps_pictures: bool = True,
    ) -> None:
        self._card, self._top = card, top
        self._average = ExponentialAverage(smooth_seconds)
        self._delay = program.delay
        self._keeps_pictures = keeps_pictures
        self._waiting: deque[VideoFrame] = deque()
        # Times of the frames in the window: valid results come once it is full.
        self._window: deque[float] = deque(maxlen=program.first_valid_step - program.delay + 1)
        self._newest: VideoFrame | None = None
        self._step = self._unknown = 0

    def start_anew(self, age: int = 0) -> None:
        """Discard all frames, so that the next one is a video's first.

        Args:
            age: frames that a restored snapshot has seen. Their times are unknown, so that outputs
                about them give no prediction.
        """
        self._waiting.clear()
        self._window.clear()
        self._average.reset()
        self._newest = None
        self._step, self._unknown = age, min(age, self._delay)

    def describe(self, step: TrackStep) -> Prediction | None:
        """Turn a step's output into a prediction.

        Returns:
            None where the step has no result (`fresh` is false), or describes a moment before the
            video began.
        """
        if step.frame is not None:
            frame = step.frame
            self._newest = frame if self._keeps_pictures else frame.without_picture()
            self._waiting.append(self._newest)
        number, newest = self._step, self._newest
        self._step += 1
        if number < self._delay:  # describes a moment before the first frame
            return None
        if self._unknown:
            self._unknown -= 1
            return None
        assert newest is not None
        described = self._waiting.popleft()
        self._window.append(described.pts_seconds)
        if not step.fresh:
            return None
        # A copy that NumPy owns: freeing a tensor's memory while Python exits may abort.
        probabilities = self._card.probabilities(step.output).numpy().copy()
        if described.gap_seconds or not step.valid:
            self._average.reset()
        if step.valid:
            probabilities = self._average.add(described.pts_seconds, probabilities)
        return Prediction(
            described,
            self._window[0],
            newest.pts_seconds,
            step.valid,
            newest.is_undersampled,
            probabilities,
            self._top.pick(probabilities),
            step.preprocess_ms,
            step.step_ms,
            step.dropped_frames,
            _find_lag_ms(newest),
            step.queue_ms,
            step.track,
        )


def make_describer(
    card: ModelCard,
    program: Program[Any],
    labels: tuple[str, ...],
    top_k: int | None,
    threshold: float,
    smooth_seconds: float,
    *,
    keeps_pictures: bool,
) -> Describer:
    """Make a describer from the arguments of `Engine.join`.

    Raises:
        OptionError: an argument is out of range.
    """
    check_display(threshold, smooth_seconds)
    top = TopLabels(labels, check_top_k(top_k, labels, program.name), threshold)
    return Describer(card, program, top, smooth_seconds, keeps_pictures=keeps_pictures)


def _find_lag_ms(frame: VideoFrame) -> float | None:
    """Milliseconds since a frame of a live source arrived; None for files."""
    if frame.received_seconds is None:
        return None
    return max(0.0, time() - frame.received_seconds) * MS_PER_SECOND
