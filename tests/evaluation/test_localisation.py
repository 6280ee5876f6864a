"""Moments and their classes against a direct reading of Charades' script."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from co3d.datasets.manifest import Segment, VideoEntry
from co3d.evaluation.localisation import match_moments

SECONDS = st.floats(0, 20, allow_nan=False)


@given(
    st.lists(st.tuples(st.integers(0, 4), SECONDS, SECONDS), max_size=6),
    st.integers(2, 200),
    st.lists(SECONDS, min_size=1, max_size=30),
    st.floats(0, 100),
)
def test_moments_equal_those_of_the_official_script(segments, frames, times, origin):
    entry = VideoEntry("a", "a.mp4", (), segments=tuple(Segment(*segment) for segment in segments))
    clock = (origin + np.arange(frames) / 10).tolist()
    chosen, truth = match_moments(entry, [origin + time for time in times], clock)
    for j in range(1, 26):
        moment = (j - 1) / 25 * frames / 10
        if all(abs(moment - edge) > 1e-6 for _, *edges in segments for edge in edges):
            happening = {label for label, start, end in segments if start <= moment <= end}
            assert set(truth[j - 1]) == happening
        distances = [abs(time - moment) for time in times]
        assert distances[chosen[j - 1]] <= min(distances) + 1e-6
    assert len(chosen) == len(truth) == 25


def test_the_ends_of_an_interval_belong_to_it():
    segments = (Segment(1, 1.0, 2.0), Segment(0, 2.0, 2.0))
    entry = VideoEntry("a", "a.mp4", (0, 1), end_seconds=25.0, segments=segments)
    _, truth = match_moments(entry, [0.0], [0.0, 0.1])
    assert truth[:4] == ((), (1,), (0, 1), ())


def test_moments_count_from_the_start_of_a_part_of_a_file():
    entry = VideoEntry("a", "a.mp4", (1,), 10.0, 15.0, (Segment(1, 12.0, 13.0),))
    chosen, truth = match_moments(entry, [60.0, 63.0], [50.0, 60.2, 64.8])
    assert [bool(row) for row in truth] == [10 <= index <= 15 for index in range(25)]
    assert chosen == [0] * 8 + [1] * 17  # the file begins at 50 s
