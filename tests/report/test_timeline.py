import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from co3d.engine import LabellingSummary, Segment
from co3d.errors import OptionError
from co3d.report import Timeline, label_colours, timeline_picture
from support.predictions import LABELS, make_prediction

COLOURS = label_colours(LABELS)


def make_timeline(names: list[str]) -> tuple[Timeline, LabellingSummary]:
    timeline, summary = Timeline(LABELS, COLOURS, 8.0), LabellingSummary(8.0)
    for number, name in enumerate(names):
        prediction = make_prediction(name, number / 8)
        timeline.add(prediction)
        summary.add(prediction)
    return timeline, summary


def test_rows_bear_the_labels_and_their_colours():
    timeline, summary = make_timeline(["pan"] * 8 + ["tilt"] * 8)
    rows = timeline.draw(title="a", segments=summary.segments).axes[-1]
    assert [tick.get_text() for tick in rows.get_yticklabels()] == list(LABELS)
    drawn = [to_hex(area.get_facecolor()[0]) for area in rows.collections]
    assert drawn == [COLOURS[label] for label in LABELS]


def test_the_height_of_a_row_is_the_probability():
    timeline, summary = make_timeline(["pan"] * 8)
    rows = timeline.draw(title="a", segments=summary.segments).axes[-1]
    heights = [np.ptp(area.get_paths()[0].vertices[:, 1]) for area in rows.collections]
    assert heights == pytest.approx([0.86 * 0.7, *[0.86 * 0.1] * 3], rel=1e-5)


def test_a_gap_is_a_hole_in_the_rows():
    timeline, summary = Timeline(LABELS, COLOURS, 8.0), LabellingSummary(8.0)
    for seconds, gap, valid in [
        (0, 0, True),
        (0.125, 0, True),
        (60, 59.875, False),
        (60.5, 0, True),
    ]:
        prediction = make_prediction("pan", seconds, gap_seconds=gap, valid=valid)
        timeline.add(prediction)
        summary.add(prediction)
    figure = timeline.draw(title="a", segments=summary.segments)
    for row, area in enumerate(figure.axes[-1].collections):
        spans = [np.ptp(path.vertices[:, 0]) for path in area.get_paths()]
        assert spans == pytest.approx([0.25, 0.125]), row
    assert len(figure.axes[0].collections[0].get_paths()) == 2


def test_the_strip_of_truth_stands_above_the_predicted_one():
    timeline, summary = make_timeline(["pan"] * 8)
    truth = [Segment("pan", 0.0, 0.5), Segment("tilt", 0.5, 1.0)]
    figure = timeline.draw(title="a", segments=summary.segments, truth=truth)
    names = [axis.get_yticklabels()[0].get_text() for axis in figure.axes[:2]]
    assert names == ["truth", "predicted"]
    bars = [axis.collections[0] for axis in figure.axes[:2]]
    assert [len(bar.get_paths()) for bar in bars] == [2, 1]
    assert [to_hex(c) for c in bars[0].get_facecolor()] == [COLOURS["pan"], COLOURS["tilt"]]


def test_of_many_labels_the_likeliest_are_drawn():
    labels = tuple(f"label {number}" for number in range(400))
    timeline = Timeline(labels, label_colours(labels), 8.0)
    prediction = make_prediction("pan", 0.0)
    probabilities = np.zeros(400, np.float32)
    probabilities[[7, 390]] = 0.5
    object.__setattr__(prediction, "probabilities", probabilities)
    timeline.add(prediction)
    rows = timeline.draw(title="a", segments=[]).axes[-1]
    names = [tick.get_text() for tick in rows.get_yticklabels()]
    assert len(names) == 12
    assert {"label 7", "label 390"} <= set(names)


def test_without_a_valid_prediction_the_picture_says_so(tmp_path):
    timeline = Timeline(LABELS, COLOURS, 8.0)
    timeline.add(make_prediction("pan", 0.0, valid=False))
    figure = timeline.draw(title="a", segments=[])
    assert [text.get_text() for text in figure.axes[-1].texts] == ["no valid prediction"]
    figure.savefig(tmp_path / "empty.png")


def test_dollar_signs_are_no_formula(tmp_path):
    labels = ("$\\oops$", "")
    timeline = Timeline(labels, label_colours(labels), 8.0)
    prediction = make_prediction("pan", 0.0)
    object.__setattr__(prediction, "probabilities", np.asarray([0.9, 0.1], np.float32))
    timeline.add(prediction)
    segments = [Segment(labels[0], 0.0, 1.0), Segment(labels[1], 1.0, 2.0)]
    figure = timeline.draw(title="$\\worse$", segments=segments)
    figure.savefig(tmp_path / "dollars.png")


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".svg", ".pdf"])
def test_the_picture_is_written_in_the_format_of_its_suffix(tmp_path, labeller, suffix):
    path = tmp_path / f"timeline{suffix}"
    summary = LabellingSummary(8.0)
    with timeline_picture(path, labeller, summary, title="a") as timeline:
        for number in range(4):
            for sink in (summary, timeline):
                sink.add(make_prediction("pan", number / 8))
    heads = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    assert path.read_bytes().startswith(heads[suffix.lower()])
    if suffix == ".png":
        with Image.open(path) as picture:
            assert picture.width == 1800


def test_another_suffix_is_refused_before_the_work(tmp_path, labeller):
    summary = LabellingSummary(8.0)
    with (
        pytest.raises(OptionError, match=r"\.png"),
        timeline_picture(tmp_path / "a.docx", labeller, summary, title="a"),
    ):
        pytest.fail("the block ran")
    assert not list(tmp_path.iterdir())
