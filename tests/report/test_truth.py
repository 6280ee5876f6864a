import json

import pytest

from co3d.engine import Segment
from co3d.errors import SourceNotFoundError
from co3d.report import compare_with_truth, read_truth
from support.predictions import make_prediction

TRUTH = [Segment("pan", 0.0, 1.0), Segment("tilt", 1.0, 2.0), Segment("pan", 2.0, 3.0)]


def test_each_prediction_counts_for_the_segment_of_its_frame():
    said = ["pan", "pan", "pan", "tilt", "tilt", "tilt", "pan", "tilt"]
    predictions = [make_prediction(label, number / 4) for number, label in enumerate(said)]
    first, second, third = compare_with_truth(TRUTH, predictions, window_seconds=0.5)
    assert (first.agreeing, first.predictions, first.mostly) == (3, 4, "pan")
    assert (second.agreeing, second.predictions, second.mostly) == (3, 4, "tilt")
    assert (third.agreeing, third.predictions, third.mostly) == (0, 0, "")


def test_settled_predictions_have_their_window_in_the_segment():
    said = ["pan", "pan", "pan", "pan", "pan", "pan", "tilt", "tilt"]
    predictions = [make_prediction(label, number / 4) for number, label in enumerate(said)]
    second = compare_with_truth(TRUTH, predictions, window_seconds=0.5)[1]
    assert (second.agreeing, second.predictions) == (2, 4)
    assert (second.settled_agreeing, second.settled) == (2, 2)


def test_invalid_predictions_do_not_count():
    invalid = make_prediction("tilt", 0.5, valid=False)
    assert compare_with_truth(TRUTH, [invalid], window_seconds=0.0)[0].predictions == 0


def test_truth_is_read_from_json(tmp_path):
    path = tmp_path / "truth.json"
    path.write_text(json.dumps([vars(segment) for segment in TRUTH]))
    assert read_truth(path) == TRUTH


def test_an_absent_truth_is_named(tmp_path):
    with pytest.raises(SourceNotFoundError, match=r"truth\.json"):
        read_truth(tmp_path / "truth.json")
