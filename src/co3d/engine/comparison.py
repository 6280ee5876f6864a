"""Compares a step program's speed with a clip network on a sliding window, on the same frames."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from co3d.engine.describer import MS_PER_SECOND
from co3d.engine.labelling import Labeller
from co3d.video import VideoFrame


@dataclass
class SpeedComparison:
    """Times of single predictions, step by step and clip by clip.

    Attributes:
        step_macs, clip_macs: multiply-accumulates of one prediction.
        step_ms, clip_ms: one entry per prediction, in milliseconds.
    """

    step_macs: int
    clip_macs: int
    step_ms: list[float] = field(default_factory=list)
    clip_ms: list[float] = field(default_factory=list)

    @property
    def speedup(self) -> float:
        """How many times faster a step is than a clip, by their medians."""
        return float(np.median(self.clip_ms) / np.median(self.step_ms))

    @property
    def macs_ratio(self) -> float:
        """How many times fewer multiply-accumulates a step needs than a clip."""
        return self.clip_macs / self.step_macs

    def as_dict(self) -> dict[str, Any]:
        """Medians, 95th percentiles and ratios as plain values, ready for JSON."""
        return {
            "measured": len(self.step_ms),
            "step_ms_median": float(np.median(self.step_ms)),
            "step_ms_p95": float(np.percentile(self.step_ms, 95)),
            "clip_ms_median": float(np.median(self.clip_ms)),
            "clip_ms_p95": float(np.percentile(self.clip_ms, 95)),
            "step_macs": self.step_macs,
            "clip_macs": self.clip_macs,
            "speedup": self.speedup,
            "macs_ratio": self.macs_ratio,
        }


def compare_with_clip(
    labeller: Labeller, frames: Iterable[VideoFrame], comparison: SpeedComparison
) -> Iterator[None]:
    """Time one step and one clip, interleaved, on every frame; yield after each pair.

    The clip network sees the newest T frames (a sliding window of stride 1). The measurements are
    interleaved, so that both meet the same load of the machine. The first frames, which fill the
    clip, are not timed.
    """
    assert labeller.model is not None, "an exported file has no clip network"
    compiled, card = labeller.compiled, labeller.card
    clip: deque[Tensor] = deque(maxlen=card.clip_frames)
    with compiled.open() as slot:
        for video_frame in frames:
            frame = card.preprocess(video_frame.image)
            clip.append(frame)
            started = perf_counter()
            compiled.step([slot], frame)
            stepped = perf_counter()
            if len(clip) < card.clip_frames:
                continue
            with torch.inference_mode():
                before_clip = perf_counter()
                labeller.model(torch.stack(tuple(clip), dim=2))
                after_clip = perf_counter()
            comparison.step_ms.append((stepped - started) * MS_PER_SECOND)
            comparison.clip_ms.append((after_clip - before_clip) * MS_PER_SECOND)
            yield
