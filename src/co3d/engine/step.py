"""The raw output of one step of a track, before it becomes a prediction."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from co3d.engine.prediction import Prediction
from co3d.video import VideoFrame


class StepOutput(NamedTuple):
    """The output of a batched call for one of its tracks.

    Attributes:
        output: (K,) on the CPU. valid, fresh: see `StepResult`.
        began_seconds: when the call began, on the monotonic clock.
        preprocess_ms, step_ms: times of the call, for all of its tracks.
    """

    output: Tensor
    valid: bool
    fresh: bool
    began_seconds: float
    preprocess_ms: float
    step_ms: float


@dataclass(frozen=True)
class TrackStep:
    """One step of a track.

    Attributes:
        track: name of the track.
        frame: the newest frame, which the network was given; None for a blank frame of a flush.
        output: (K,) on the CPU; zeros if the step has no result.
        valid, fresh: see `StepResult`.
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
    """Receives the steps of one track, in order, one at a time, in the workers' threads."""

    def start_anew(self, age: int = 0) -> None:
        """Note that the next frame is a video's first, or follows `age` frames of a snapshot."""
        ...

    def describe(self, step: TrackStep) -> Prediction | None:
        """Process a step; returns a prediction, if one is to be published."""
        ...
