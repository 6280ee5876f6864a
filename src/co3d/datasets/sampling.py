"""Choose the frames of a clip: by time, or by the rule of PySlowFast.

By time (the default), a clip's ticks are `1 / rate_hz` apart, and each takes the newest frame shown
by then, as `co3d.video.sampling` does for streams; this is also right for variable frame rates.
PySlowFast (`slowfast/datasets/decoder.py`) counts frames and takes those at
`floor(linspace(start, start + size - 1, T))`, where `size` is the clip's length at the video's own
rate: a little more than `1 / rate_hz` apart. Published figures were measured in that way.
Both repeat the last frame past the end.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from co3d.datasets.frame_times import estimate_rate, measure_duration
from co3d.errors import OptionError
from co3d.video.sampling import TOLERANCE_SECONDS

Kind = Literal["uniform", "random", "whole"]
Rule = Literal["time", "pyslowfast"]


@dataclass(frozen=True)
class Sampling:
    """How clips are taken from videos.

    Attributes:
        kind: "uniform": `views` clips, the first at the start and the last at the end of the
            video; "random": one clip anywhere; "whole": one clip as long as the video, by time.
        views: temporal views K of "uniform". A single one lies in the middle by time, and at the
            start by PySlowFast's rule.
        crops: spatial views M of each: 1 (centre) or 3 (along the longer side).
        rule: how frames are chosen.
        rate_hz: frames per second; None takes the model card's.
        frames: frames per clip; None takes the model card's.

    Raises:
        OptionError: a value is invalid.
    """

    kind: Kind = "uniform"
    views: int = 1
    crops: int = 1
    rule: Rule = "time"
    rate_hz: float | None = None
    frames: int | None = None

    def __post_init__(self) -> None:
        if self.views < 1 or self.crops not in (1, 3):
            raise OptionError(
                f"cannot take {self.views}x{self.crops} views: expected 1 or more in time, and 1 "
                "or 3 crops; choose 10x3, say"
            )
        if self.kind != "uniform" and self.views != 1:
            raise OptionError(f"cannot take {self.views} {self.kind} clips of a video: choose 1")
        if self.kind == "whole" and self.rule != "time":
            raise OptionError("cannot count whole videos by PySlowFast's rule: sample them by time")
        if self.rate_hz is not None and not 0 < self.rate_hz < float("inf"):
            raise OptionError(f"cannot sample at {self.rate_hz} frames/s: choose a rate above 0")
        if self.frames is not None and self.frames < 1:
            raise OptionError(f"cannot take clips of {self.frames} frames: choose 1 or more")


def choose_indices(
    times_seconds: np.ndarray,
    sampling: Sampling,
    frames: int,
    rate_hz: float,
    view: int = 0,
    generator: torch.Generator | None = None,
    source_rate_hz: float | None = None,
) -> np.ndarray:
    """The frames of one clip.

    Args:
        times_seconds: (N,) when each frame of the video is shown, in order.
        sampling: the kind and the rule.
        frames: T, frames per clip; ignored for "whole".
        rate_hz: frames per second of the clip.
        view: which temporal view, from 0.
        generator: for "random"; None takes torch's own.
        source_rate_hz: the video's own rate, used by PySlowFast's rule; None takes the mean over
            its frames, which is wrong for containers that round times to milliseconds.

    Returns:
        (T,) int64, indices into `times_seconds`.
    """
    total = len(times_seconds)
    if sampling.rule == "pyslowfast":
        size = frames * (source_rate_hz or estimate_rate(times_seconds)) / rate_hz
        start = _choose_start(total, size, sampling, view, generator)
        return pyslowfast_indices(start, size, frames, total)
    ticks = np.arange(frames) / rate_hz
    duration = measure_duration(times_seconds)
    if sampling.kind == "whole":
        ticks = np.arange(max(1, int(np.floor((duration - TOLERANCE_SECONDS) * rate_hz)) + 1))
        ticks = ticks / rate_hz
        start = 0.0
    elif sampling.kind == "uniform" and sampling.views == 1:
        start = max(duration - frames / rate_hz, 0.0) / 2
    else:
        start = _choose_start(duration, frames / rate_hz, sampling, view, generator)
    return indices_at(times_seconds, times_seconds[0] + start + ticks, rate_hz)


def pyslowfast_start(total: float, size: float, view: int, views: int) -> float:
    """Where view `view` of `views` starts: PySlowFast's `get_start_end_idx` in testing."""
    delta = max(total - size, 0)
    return delta * view / max(views - 1, 1)


def pyslowfast_indices(start: float, size: float, frames: int, total: int) -> np.ndarray:
    """The `frames` frames of a clip of `size` frames: PySlowFast's `temporal_sampling`.

    Computed in float32, as there, because rounding decides between neighbours.
    """
    index = torch.linspace(start, start + size - 1, frames, dtype=torch.float32)
    return index.clamp(0, total - 1).long().numpy()


def indices_at(times_seconds: np.ndarray, ticks_seconds: np.ndarray, rate_hz: float) -> np.ndarray:
    """For each tick, the index of the newest frame at or before it, or of the first frame."""
    tolerance = min(TOLERANCE_SECONDS, 0.25 / rate_hz)
    newest = np.searchsorted(times_seconds, ticks_seconds + tolerance, side="right") - 1
    return newest.clip(0, len(times_seconds) - 1)


def _choose_start(
    total: float, size: float, sampling: Sampling, view: int, generator: torch.Generator | None
) -> float:
    if sampling.kind == "random":
        return float(torch.rand((), generator=generator)) * max(total - size, 0)
    return pyslowfast_start(total, size, view, sampling.views)
