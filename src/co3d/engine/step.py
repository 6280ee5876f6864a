"""One step of a track, before anybody says what it means."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from co3d.engine.prediction import Prediction
from co3d.video import VideoFrame


@dataclass(frozen=True)
class TrackStep:
    """What one step of a track gave.

    Attributes:
        track: name of the track.
        frame: the frame that the network was shown, the newest one; None where it was a blank one,
            with which a video's end is flushed.
        output: (K,) on the CPU; zeros where the step has no result.
        valid, fresh: as of `StepResult`.
        preprocess_ms, step_ms, queue_ms, dropped_frames: see `Prediction`.
    """

    track: str
    frame: VideoFrame | None
    output: Tensor
    valid: bool
    fresh: bool
    preprocess_ms: float
    step_ms: float
    queue_ms: float
    dropped_frames: int


class StepListener(Protocol):
    """Takes the steps of one track, in order, in the threads that made them, one at a time."""

    def start_anew(self, age: int = 0) -> None:
        """The next frame is a video's first, or follows so many of a restored snapshot."""
        ...

    def describe(self, step: TrackStep) -> Prediction | None:
        """Take in a step; what it says of a frame, if it is to be handed on."""
        ...
