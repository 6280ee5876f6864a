"""A track's part in one step: the frame that it gives, and how long that took."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from co3d.engine.describer import MS_PER_SECOND
from co3d.engine.track import Track
from co3d.engine.turn import Turn
from co3d.runtime import CompiledProgram, StepResult


@dataclass
class Share:
    """A track's part in one step."""

    track: Track
    turn: Turn
    frame: Tensor
    began_seconds: float
    preprocess_ms: float


def prepare_share(
    track: Track, turn: Turn, preprocess: Callable[[np.ndarray], Tensor], blank: Tensor
) -> Share:
    """Preprocess the picture whose turn it is; `blank` stands for the one after a video's end."""
    began_seconds, began = time.monotonic(), time.perf_counter()
    track.show(turn)
    frame = blank
    if turn.waiting is not None:
        frame = turn.waiting.pixels
        if frame is None:
            frame = preprocess(turn.waiting.frame.image)
    preprocess_ms = (time.perf_counter() - began) * MS_PER_SECOND
    return Share(track, turn, frame, began_seconds, preprocess_ms)


def step_shares(
    compiled: CompiledProgram, shares: Sequence[Share]
) -> tuple[StepResult, Tensor, float]:
    """Step some tracks together.

    Returns:
        The result, its output on the CPU, a row for each, and how long it took in milliseconds.
    """
    started = time.perf_counter()
    frames = [share.frame for share in shares]
    result = compiled.step(
        [share.track.slot for share in shares], frames[0] if len(frames) == 1 else torch.cat(frames)
    )
    output = result.output.cpu()  # which waits for the device
    return result, output, (time.perf_counter() - started) * MS_PER_SECOND
