"""What a network says about one frame of a video."""

from dataclasses import dataclass

import numpy as np

from co3d.video import VideoFrame


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
        queue_ms: how long the newest frame waited for its step; 0 where a reader is labelled
            directly.
        track: name of the engine's track that it is of; empty where a reader is labelled directly.
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

    @property
    def pts_seconds(self) -> float:
        """Time of the frame that is described, in seconds from the start of its source."""
        return self.frame.pts_seconds

    @property
    def probability(self) -> float | None:
        """Of `label`, from 0 to 1; None where there is none to show."""
        return self.top[0][1] if self.valid and self.top else None

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
