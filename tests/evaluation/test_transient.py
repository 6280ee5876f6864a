from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from co3d.evaluation.records import FrameTrace, VideoRecord
from co3d.evaluation.transient import (
    MILESTONES,
    measure_transient,
    measure_transient_precision,
)


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
def test_it_equals_the_mean_over_a_table_of_hits(videos, first_valid):
    transient = measure_transient([make_record(label, s, first_valid) for label, s in videos])
    table = np.full((len(videos), 9), np.nan)
    for row, (label, said) in enumerate(videos):
        table[row, : len(said)] = np.equal(said, label)
    counts = (~np.isnan(table)).sum(0)
    kept = counts >= 0.5 * len(videos)
    assert transient.frames == tuple(range(1, len(transient.values) + 1))
    assert transient.videos == tuple(counts[kept])
    np.testing.assert_allclose(transient.values, np.nanmean(table[:, kept], axis=0))
    valid = table[:, first_valid:][~np.isnan(table[:, first_valid:])]
    if len(valid):
        assert transient.every_frame == pytest.approx(valid.mean())
        assert transient.first_valid == first_valid + 1
    else:
        assert transient.every_frame is None
        assert transient.first_valid is None


def make_multi_label_record(labels, rows):
    milestones = tuple(array("f", row) for row in rows)
    trace = FrameTrace(array("d", [0.0]), array("i", [0]), array("f", [1.0]), 0)
    return VideoRecord(0, "a", labels, {}, trace=trace, milestones=milestones)


def test_mean_average_precision_rises_as_the_right_videos_move_up():
    # Class 0 is shown by the first video only: its rank there is 2nd, then 1st.
    right = make_multi_label_record((0,), [[0.2, 0.1], [0.9, 0.1], [0.9, 0.1]])
    other = make_multi_label_record((1,), [[0.5, 0.9], [0.5, 0.9]])
    short = make_multi_label_record((1,), [[0.1, 0.8]])
    transient = measure_transient_precision([right, other, short], 2)
    assert transient.measure == "mAP"
    assert transient.frames == MILESTONES[:2]  # the third is reached by one of three
    assert transient.videos == (3, 2)
    assert transient.values == pytest.approx(((1 / 2 + 1) / 2, 1.0))
    assert transient.first_valid == 1
    assert transient.every_frame is None


def test_without_any_class_there_is_no_precision():
    assert measure_transient_precision([make_multi_label_record((), [[0.5]])], 1).frames == ()
