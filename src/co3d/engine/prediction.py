"""A network's prediction for one frame of a video."""

from dataclasses import dataclass

import numpy as np

from co3d.video import VideoFrame


@dataclass(frozen=True)
class Prediction:
    """A network's prediction for one frame.

    Attributes:
        frame: the frame that is described, which is the last of the window, not the newest frame.
        from_pts_seconds: time of the first frame in the window. The prediction is an average from
            there to `frame`; without a final pooling over time, it is the time of `frame`.
        seen_pts_seconds: time of the newest frame that the network had seen; it is later than
            `frame.pts_seconds` by the network's delay.
        valid: whether the window is full of real frames, without a gap unless the reader keeps
            gaps.
        is_undersampled: whether most frames that the network has seen are repeats, because new
            pictures come too rarely for its rate; see `VideoFrame.is_undersampled`.
        probabilities: (K,) float32, in the order of the model's labels; those of valid predictions
            are averaged over time if the labeller smooths.
        top: the likeliest labels that reach the labeller's threshold, with their probabilities,
            likeliest first; it may be empty.
        preprocess_ms: time to scale and normalise the newest frame, together with those of other
            tracks in the same call; 0 for the last `delay` frames.
        step_ms: time of the network's step; in an engine, of the call that steps several tracks.
        dropped_frames: frames dropped so far.
        lag_ms: time from the arrival of the newest frame that the network had seen to this
            prediction; None for files.
        queue_ms: how long the newest frame waited for its step; 0 for a labeller.
        track: name of the engine's track; empty for a labeller.
        restarted: whether the stream is filling its window again on another engine of the fleet,
            because its engine was lost.
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
    queue_ms: float = 0.0
    track: str = ""
    restarted: bool = False

    @property
    def pts_seconds(self) -> float:
        """Time of the frame that is described, in seconds from the start of its source."""
        return self.frame.pts_seconds

    @property
    def probability(self) -> float | None:
        """The probability of `label`, from 0 to 1; None if there is none."""
        return self.top[0][1] if self.valid and self.top else None

    @property
    def label(self) -> str | None:
        """The label to show, the likeliest one; None if there is none."""
        return self.top[0][0] if self.valid and self.top else None

    @property
    def why_unlabelled(self) -> str:
        """Why there is no label to show; empty if there is one."""
        if not self.valid:
            return "filling the window"
        return "" if self.top else "no label reaches the threshold"

    @property
    def gap_seconds(self) -> float:
        """The gap just before the frame that is described, in seconds; 0 without one."""
        return self.frame.gap_seconds

    @property
    def latency_ms(self) -> float:
        """Time of preprocessing and step, from having the newest frame to this prediction."""
        return self.preprocess_ms + self.step_ms
