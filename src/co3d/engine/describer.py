"""From a network's outputs to predictions about frames."""

from collections import deque
from dataclasses import replace
from time import time
from typing import Any

import numpy as np

from co3d.compiler.program import Program
from co3d.engine.labels import TopLabels
from co3d.engine.prediction import Prediction
from co3d.engine.smoothing import ExponentialAverage
from co3d.engine.step import TrackStep
from co3d.models import ModelCard
from co3d.video import VideoFrame

MS_PER_SECOND = 1000.0
NO_PICTURE = np.empty((0, 0, 3), np.uint8)


class Describer:
    """Knows which of one stream's frames the network's next output describes.

    An output describes the frame that was seen `delay` steps before it, so frames wait here for
    theirs.

    Args:
        card: what turns logits into probabilities. program: whose outputs these are.
        top: picks the labels to show.
        smooth_seconds: time constant of the average of probabilities over time, which starts anew
            after a gap and wherever results become valid (see `ExponentialAverage`); 0 for none.
        keeps_pictures: whether predictions hold the picture that they describe. A thousand waiting
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
        """Forget all frames: the next one is a video's first.

        Args:
            age: frames that the network has seen already, of a restored snapshot. They have no
                times here, and outputs about them give no prediction.
        """
        self._waiting.clear()
        self._window.clear()
        self._average.reset()
        self._newest = None
        self._step, self._unknown = age, min(age, self._delay)

    def describe(self, step: TrackStep) -> Prediction | None:
        """What a step says, and about which frame.

        Returns:
            The prediction; None where the step has no result (`fresh` is false), or one about a
            moment before the video began.
        """
        if step.frame is not None:
            frame = step.frame
            self._newest = frame if self._keeps_pictures else replace(frame, image=NO_PICTURE)
            self._waiting.append(self._newest)
        number, newest = self._step, self._newest
        self._step += 1
        if number < self._delay:  # in a short video, results of a flush may describe such moments
            return None
        if self._unknown:
            self._unknown -= 1
            return None
        assert newest is not None
        described = self._waiting.popleft()
        self._window.append(described.pts_seconds)
        if not step.fresh:
            return None
        probabilities = self._card.probabilities(step.output).numpy()
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


def _find_lag_ms(frame: VideoFrame) -> float | None:
    """Milliseconds since a frame of a live source arrived; None for files."""
    if frame.received_seconds is None:
        return None
    return max(0.0, time() - frame.received_seconds) * MS_PER_SECOND
