from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from co3d.engine import Segment
from co3d.report import timeline_spans
from co3d.report.timeline_spans import TimelineSpans
from support.predictions import LABELS, make_prediction

SERIES = st.lists(
    st.tuples(
        st.sampled_from(LABELS),
        st.floats(0.3, 1.0),
        st.sampled_from([0.0, 0.125, 0.125, 0.5]),
        st.sampled_from([True, True, True, False]),
        st.sampled_from([0.0, 0.0, 0.0, 20.0]),
    ),
    min_size=1,
    max_size=60,
)


def sum_up(series) -> tuple[TimelineSpans, list[tuple[float, float, np.ndarray]]]:
    """The spans, and by a plain rule what each prediction holds for."""
    spans, predictions, seconds = TimelineSpans(0.125, 0.0), [], 5.0
    for label, probability, step, valid, gap in series:
        seconds += step + gap
        prediction = make_prediction(
            label, seconds, probability=probability, valid=valid, gap_seconds=gap
        )
        spans.add(prediction)
        predictions.append(prediction)
    spans.finish()
    held = []
    for number, prediction in enumerate(predictions):
        start = prediction.frame.pts_seconds
        later = predictions[number + 1] if number + 1 < len(predictions) else None
        end = start + 0.125
        if later is not None:
            follows = later.valid and not later.gap_seconds
            end = later.frame.pts_seconds if follows else min(end, later.frame.pts_seconds)
        if prediction.valid and end > start:
            held.append((start, end, prediction.probabilities))
    return spans, held


@given(SERIES)
def test_few_predictions_are_drawn_until_the_next_one(series):
    spans, held = sum_up(series)
    assert [(s.start_seconds, s.end_seconds) for s in spans.spans] == [h[:2] for h in held]
    for span, (_, _, probabilities) in zip(spans.spans, held, strict=True):
        np.testing.assert_allclose(span.mean, probabilities, rtol=1e-5)


@given(SERIES)
def test_many_predictions_are_summarised_with_equal_totals_and_peaks(series):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timeline_spans, "MOST_SPANS", 8)
        spans, held = sum_up(series)
    assert len(spans.spans) <= 8 + 1
    total = sum((span.weighted for span in spans.spans), np.zeros(4))
    expected = sum(((end - start) * p for start, end, p in held), np.zeros(4))
    np.testing.assert_allclose(total, expected, rtol=1e-4)
    if held:
        highest = np.max([p for _, _, p in held], axis=0)
        np.testing.assert_array_equal(np.max([s.highest for s in spans.spans], axis=0), highest)
        assert spans.spans[0].start_seconds == held[0][0]
        assert spans.spans[-1].end_seconds == held[-1][1]
    for earlier, later in zip(spans.spans, spans.spans[1:], strict=False):
        assert earlier.end_seconds <= later.start_seconds + 1e-9


def test_segments_are_those_of_the_labels():
    spans = TimelineSpans(0.25, 0.0)
    for number, label in enumerate(["pan", "pan", "tilt", "pan", "pan"]):
        spans.add(make_prediction(label, number / 4))
    spans.add(replace(make_prediction("pan", 1.25), top=()))
    spans.add(make_prediction("pan", 1.5))
    spans.add(make_prediction("pan", 9.0, gap_seconds=7.5))
    spans.finish()
    assert spans.segments() == [
        Segment("pan", 0.0, 0.5),
        Segment("tilt", 0.5, 0.75),
        Segment("pan", 0.75, 1.25),
        Segment("pan", 1.5, 1.75),
        Segment("pan", 9.0, 9.25),
    ]


def test_a_step_has_the_label_that_lasted_longest(monkeypatch):
    monkeypatch.setattr(timeline_spans, "MOST_SPANS", 4)
    spans = TimelineSpans(1.0, 0.0)
    for number, label in enumerate(["pan", "tilt", "tilt", "pan", "pan", "pan", "pan"]):
        spans.add(make_prediction(label, number))
    spans.finish()
    assert spans.step_seconds > 0
    assert {segment.label for segment in spans.segments()} == {"pan", "tilt"}
    assert spans.segments()[-1].end_seconds == 7.0
