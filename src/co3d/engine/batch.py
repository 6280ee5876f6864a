"""A batch of tracks that step in one call."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from co3d.backends.native.pictures import PlannedPicture
from co3d.engine.action import Action
from co3d.engine.describer import MS_PER_SECOND
from co3d.engine.preprocessing import Preprocessor
from co3d.engine.step import StepOutput
from co3d.engine.track import Track
from co3d.errors import InputShapeError
from co3d.runtime import CompiledProgram


@dataclass
class BatchItem:
    """One track of the batch, its action, and its planned picture for `Preprocessor.make`."""

    track: Track
    action: Action
    planned: PlannedPicture | Tensor


def prepare_item(
    track: Track, action: Action, preprocess: Preprocessor, blank: Tensor
) -> BatchItem:
    """Plan the picture of a track's action; a flush steps the frame `blank`.

    Raises:
        InputShapeError: it is not a picture, or its preprocessed pixels are not a network frame.
    """
    track.prepare(action)
    if action.waiting is None:
        return BatchItem(track, action, blank)
    pixels = action.waiting.pixels
    if pixels is None:
        return BatchItem(track, action, preprocess.plan(action.waiting.frame.image))
    if pixels.shape != blank.shape or not pixels.is_floating_point():
        raise InputShapeError(
            f"cannot step {track.name}: got pixels {tuple(pixels.shape)} of {pixels.dtype}, "
            f"expected floating-point ones {tuple(blank.shape)}; use card.preprocess"
        )
    return BatchItem(track, action, pixels)


class BatchCall:
    """A call that steps a batch; it is timed from its creation on."""

    def __init__(self) -> None:
        self._began_seconds, self._began = time.monotonic(), time.perf_counter()

    def step(
        self, compiled: CompiledProgram, preprocess: Preprocessor, items: Sequence[BatchItem]
    ) -> list[StepOutput]:
        """Step the tracks, and return the output of each."""
        frames = preprocess.make([item.planned for item in items])
        prepared = time.perf_counter()
        result = compiled.step([item.track.slot for item in items], frames)
        # The copy waits for the GPU, so that it belongs to the step's time.
        output = result.output if result.output.is_cpu else result.output.cpu()
        step_ms = (time.perf_counter() - prepared) * MS_PER_SECOND
        preprocess_ms = (prepared - self._began) * MS_PER_SECOND
        marks = zip(result.valid.tolist(), result.fresh.tolist(), strict=True)
        return [
            StepOutput(output[row], valid, fresh, self._began_seconds, preprocess_ms, step_ms)
            for row, (valid, fresh) in enumerate(marks)
        ]
