"""What is kept of each video of an evaluation, in memory and as a line of JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class FrameTrace:
    """What a stream said at every step of a video, beginning with its first frame.

    Attributes:
        pts_seconds: of the newest frame seen at each step.
        labels: likeliest class at each step.
        confidences: its probability.
        first_valid: index of the first step at which the network was full; as long as the lists
            where it never was.
    """

    pts_seconds: tuple[float, ...]
    labels: tuple[int, ...]
    confidences: tuple[float, ...]
    first_valid: int


@dataclass(frozen=True)
class VideoRecord:
    """The result of one video.

    Attributes:
        index: position in the manifest.
        video_id: as the manifest has it.
        labels: true classes, numbered as the model numbers them.
        scores: name of a prediction ("clip", or "warm" and "last") -> K probabilities.
        trace: every step; None in clip mode.
        moments: K probabilities at each of the moments at which localisation is judged; empty where
            it is not.
        moment_labels: true classes at these moments.
        frames: that the network saw.
        error: why the video is excluded; None where it counts.
    """

    index: int
    video_id: str
    labels: tuple[int, ...]
    scores: dict[str, tuple[float, ...]]
    trace: FrameTrace | None = None
    moments: tuple[tuple[float, ...], ...] = ()
    moment_labels: tuple[tuple[int, ...], ...] = ()
    frames: int = 0
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Values for `json.dumps`."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "VideoRecord":
        """What `to_json` gave; KeyError or TypeError for anything else."""
        trace = values.pop("trace")
        return cls(
            labels=tuple(values.pop("labels")),
            scores={name: tuple(row) for name, row in values.pop("scores").items()},
            trace=trace and FrameTrace(**{k: _as_tuple(v) for k, v in trace.items()}),
            moments=tuple(tuple(row) for row in values.pop("moments")),
            moment_labels=tuple(tuple(row) for row in values.pop("moment_labels")),
            **values,
        )


def shorten(probabilities: Tensor) -> tuple[float, ...]:
    """Numbers (K,) in the fewest digits that give the same float32 again."""
    return tuple(float(str(value)) for value in probabilities.float().numpy())


def stack_scores(rows: Sequence[Sequence[float]]) -> Tensor:
    """Rows of K probabilities -> (N, K) float32."""
    return torch.tensor(rows, dtype=torch.float32)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
