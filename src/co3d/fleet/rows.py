"""The rows of one video, collected from the steps of its track."""

from collections import deque

import numpy as np

from co3d.engine import Engine
from co3d.engine.describer import Describer
from co3d.engine.labels import TopLabels
from co3d.engine.step import TrackStep
from co3d.fleet.parts import ROW_GROUP, PartWriter
from co3d.fleet.plan import Columns


class FrameRows:
    """Listens to the steps of a track, and holds valid outputs until they are written.

    One thread steps while another writes. The rows are those of `co3d.label_video`: each has the
    time of the frame that it describes, and a flush describes the video's last frames.
    """

    def __init__(self, engine: Engine, columns: Columns) -> None:
        self._is_raw = columns == "features"
        top = TopLabels(engine.labels, 1)
        self._describer = Describer(engine.card, engine.compiled.program, top, keeps_pictures=False)
        self._waiting: deque[tuple[float, np.ndarray]] = deque()

    def start_anew(self, age: int = 0) -> None:
        """See `StepListener`."""
        self._describer.start_anew(age)

    def describe(self, step: TrackStep) -> None:
        """See `StepListener`; yields no predictions."""
        made = self._describer.describe(step)
        if made is not None and made.valid:
            row = step.output.float().clone().numpy() if self._is_raw else made.probabilities
            self._waiting.append((made.frame.pts_seconds, row))

    def write(self, part: PartWriter, *, to_end: bool = False) -> None:
        """Write complete row groups; with `to_end` the rest too."""
        while len(self._waiting) >= (1 if to_end else ROW_GROUP):
            count = min(len(self._waiting), ROW_GROUP)
            times, outputs = zip(*(self._waiting.popleft() for _ in range(count)), strict=True)
            part.add(times, np.stack(outputs))
