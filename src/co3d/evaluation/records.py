"""The result of an evaluation for each video, in memory and as a line of JSON."""

from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from co3d.printable import short_repr

# Type codes of `array`. As lists of Python floats, the scores of Kinetics (20 000 videos, 400
# classes) would take a gigabyte.
Singles = "f"
Doubles = "d"
Integers = "i"
_MOST = 1 << 48


@dataclass(frozen=True)
class FrameTrace:
    """The label of a stream at every step of a video, beginning with its first frame.

    Attributes:
        pts_seconds: of the newest frame seen at each step.
        labels: likeliest class at each step.
        confidences: its probability.
        first_valid: index of the first step at which the network was full; the length of the lists
            if it never was.
    """

    pts_seconds: "array[float]"
    labels: "array[int]"
    confidences: "array[float]"
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
        moments: K probabilities at each of the moments at which localisation is measured; empty if
            it is not measured.
        moment_labels: true classes at these moments.
        milestones: K probabilities after each number of frames in `transient.MILESTONES` that the
            video has; of streams on multi-label sets only.
        frames: that the network saw.
        error: why the video is excluded; None if it counts.
    """

    index: int
    video_id: str
    labels: tuple[int, ...]
    scores: "dict[str, array[float]]"
    trace: FrameTrace | None = None
    moments: "tuple[array[float], ...]" = ()
    moment_labels: tuple[tuple[int, ...], ...] = ()
    milestones: "tuple[array[float], ...]" = ()
    frames: int = 0
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Values for `json.dumps`, with as few digits as restore the same numbers."""
        values = asdict(self)
        values["scores"] = {name: _shorten(row) for name, row in self.scores.items()}
        values["moments"] = [_shorten(row) for row in self.moments]
        values["milestones"] = [_shorten(row) for row in self.milestones]
        if self.trace is not None:
            values["trace"] = {
                "pts_seconds": self.trace.pts_seconds.tolist(),
                "labels": self.trace.labels.tolist(),
                "confidences": _shorten(self.trace.confidences),
                "first_valid": self.trace.first_valid,
            }
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "VideoRecord":
        """The record that `to_json` described.

        Raises:
            ArithmeticError, AttributeError, LookupError, TypeError, ValueError: the values have
                another form.
        """
        error, text = values["error"], values["video_id"]
        counts = [values["index"], values["frames"], *values["labels"]]
        counts += [label for row in values["moment_labels"] for label in row]
        if not all(type(count) is int and 0 <= count < _MOST for count in counts):
            raise ValueError("its index, frames or labels are no counts")
        if not isinstance(text, str) or not (error is None or isinstance(error, str)):
            raise TypeError("its video_id or error is no text")
        trace = values.pop("trace")
        if trace is not None:
            trace = FrameTrace(
                pts_seconds=array(Doubles, trace["pts_seconds"]),
                labels=array(Integers, trace["labels"]),
                confidences=array(Singles, trace["confidences"]),
                first_valid=trace["first_valid"],
            )
            steps = len(trace.pts_seconds)
            if not {len(trace.labels), len(trace.confidences)} == {steps}:
                raise ValueError("the lists of its trace are not of one length")
            if type(trace.first_valid) is not int or not 0 <= trace.first_valid <= steps:
                raise ValueError(f"its first valid step is {short_repr(trace.first_valid)}")
        return cls(
            labels=tuple(values.pop("labels")),
            scores={name: array(Singles, row) for name, row in values.pop("scores").items()},
            trace=trace,
            moments=tuple(array(Singles, row) for row in values.pop("moments")),
            moment_labels=tuple(tuple(row) for row in values.pop("moment_labels")),
            milestones=tuple(array(Singles, row) for row in values.pop("milestones")),
            **values,
        )


def pack(probabilities: Tensor) -> "array[float]":
    """Convert a tensor of numbers (K,) to float32 outside torch."""
    return array(Singles, probabilities.float().numpy().tobytes())


def stack_scores(rows: "Sequence[array[float]]") -> Tensor:
    """Rows of K probabilities -> (N, K) float32."""
    return torch.from_numpy(np.array(rows, dtype=np.float32))


def _shorten(numbers: "array[float]") -> list[float]:
    return [float(str(value)) for value in np.asarray(numbers, np.float32)]
