from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from co3d.evaluation.records import FrameTrace, VideoRecord
from co3d.evaluation.transient import measure_transient


def make_record(label, said, first_valid):
    count = len(said)
    trace = FrameTrace(
        array("d", [0.0] * count),
        array("i", said),
        array("f", [1.0] * count),
        min(first_valid, count),
    )
    return VideoRecord(0, "a", (label,), {}, trace=trace, frames=count)


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.lists(st.integers(0, 2), min_size=1, max_size=9)),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, 9),
)
def test_it_equals_a_table_of_right_and_wrong(videos, first_valid):
    transient = measure_transient([make_record(label, s, first_valid) for label, s in videos])
    table = np.full((len(videos), 9), np.nan)
    for row, (label, said) in enumerate(videos):
        table[row, : len(said)] = np.equal(said, label)
    counts = (~np.isnan(table)).sum(0)
    kept = counts >= 0.5 * len(videos)
    assert transient.videos == tuple(counts[kept])
    np.testing.assert_allclose(transient.accuracy, np.nanmean(table[:, kept], axis=0))
    valid = table[:, first_valid:][~np.isnan(table[:, first_valid:])]
    if len(valid):
        assert transient.every_frame == pytest.approx(valid.mean())
        assert transient.first_valid == first_valid + 1
    else:
        assert transient.every_frame is None
        assert transient.first_valid is None
