"""What decoding a track's frames costs, also where another process decodes."""

from collections.abc import Iterator

import numpy as np
import pytest

from co3d.engine import Engine, Labeller
from co3d.video import VideoFrame


class DecodedElsewhere:
    """Frames that took another process as many seconds as given."""

    dropped_frames = 0

    def __init__(self, *costs_seconds: float) -> None:
        self._costs_seconds = costs_seconds
        self.elsewhere_seconds = 3.0  # before they are followed

    def __iter__(self) -> Iterator[VideoFrame]:
        for number, seconds in enumerate(self._costs_seconds):
            self.elsewhere_seconds += seconds
            yield VideoFrame(np.zeros((8, 8, 3), np.uint8), number / 8, number)


def test_time_of_another_process_counts(labeller: Labeller):
    with Engine(labeller.compiled, labeller.card, workers=0) as engine:
        track = engine.join(policy="every")
        track.follow(DecodedElsewhere(0.25, 0.25, 0.25, 0.25))
        assert track.source_cost.seconds == pytest.approx(0.25, rel=0.1)


def test_the_first_frame_is_only_an_estimate(labeller: Labeller):
    """Before it no pictures are decoded in between; at low rates these are most of the cost."""
    with Engine(labeller.compiled, labeller.card, workers=0) as engine:
        first, further = engine.join(policy="every"), engine.join(policy="every")
        first.follow(DecodedElsewhere(0.25))
        assert first.source_cost.seconds == pytest.approx(0.25, rel=0.1)
        assert not first.source_cost.is_measured
        further.follow(DecodedElsewhere(0.25, 2.0, 2.0))
        assert further.source_cost.seconds == pytest.approx(2.0, rel=0.1)
        assert further.source_cost.is_measured
