from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from co3d.engine import Segment
from co3d.errors import OptionError
from co3d.report import Timeline, label_colours, timeline_picture
from support.predictions import LABELS, make_prediction

COLOURS = label_colours(LABELS)


def make_timeline(names: list[str], rate_hz: float = 8.0, start_seconds: float = 0.0) -> Timeline:
    timeline = Timeline(LABELS, COLOURS, rate_hz)
    for number, name in enumerate(names):
        timeline.add(make_prediction(name, start_seconds + number / rate_hz))
    return timeline


def test_rows_show_the_labels_in_their_colours():
    timeline = make_timeline(["pan"] * 8 + ["tilt"] * 8)
    rows = timeline.draw(title="a").axes[-1]
    assert [tick.get_text() for tick in rows.get_yticklabels()] == list(LABELS)
    drawn = [to_hex(area.get_facecolor()[0]) for area in rows.collections]
    assert drawn == [COLOURS[label] for label in LABELS]


def test_the_height_of_a_row_is_the_probability():
    timeline = make_timeline(["pan"] * 8)
    rows = timeline.draw(title="a").axes[-1]
    heights = [np.ptp(area.get_paths()[0].vertices[:, 1]) for area in rows.collections]
    assert heights == pytest.approx([0.86 * 0.7, *[0.86 * 0.1] * 3], rel=1e-5)


def test_a_gap_is_a_hole_in_the_rows():
    timeline = Timeline(LABELS, COLOURS, 8.0)
    for seconds, gap, valid in [
        (0, 0, True),
        (0.125, 0, True),
        (60, 59.875, False),
        (60.5, 0, True),
    ]:
        timeline.add(make_prediction("pan", seconds, gap_seconds=gap, valid=valid))
    figure = timeline.draw(title="a")
    for row, area in enumerate(figure.axes[-1].collections):
        spans = [np.ptp(path.vertices[:, 0]) for path in area.get_paths()]
        assert spans == pytest.approx([0.25, 0.125]), row
    assert len(figure.axes[0].collections[0].get_paths()) == 2


def test_labels_below_the_threshold_are_not_drawn():
    timeline = Timeline(LABELS, COLOURS, 8.0, threshold=0.5)
    for number, name in enumerate(["pan", "pan", "tilt", "pan"]):
        prediction = make_prediction(name, number / 8, probability=0.7)
        if number == 1:
            prediction = make_prediction(name, number / 8, probability=0.4)
            prediction = replace(prediction, top=())
        timeline.add(prediction)
    figure = timeline.draw(title="a")
    assert [tick.get_text() for tick in figure.axes[-1].get_yticklabels()] == ["pan", "tilt"]
    pan = figure.axes[-1].collections[0].get_paths()[0].vertices
    floor = figure.axes[-1].lines[0].get_ydata()[0]
    assert {round(y - floor, 4) for y in pan[:, 1]} == {0.0, 0.602}
    assert len(figure.axes[0].collections[0].get_paths()) == 3
    strict = Timeline(LABELS, COLOURS, 8.0, threshold=0.9)
    strict.add(replace(make_prediction("pan", 0.0), top=()))
    texts = [text.get_text() for text in strict.draw(title="a").axes[-1].texts]
    assert texts == ["no label reaches the threshold"]


@pytest.mark.parametrize("start_seconds", [0.0, 95_443.0])
def test_time_starts_at_zero_with_the_first_frame(start_seconds):
    timeline = Timeline(LABELS, COLOURS, 8.0)
    for number in range(16):
        is_valid = number >= 7
        timeline.add(make_prediction("pan", start_seconds + number / 8, valid=is_valid))
    axis = timeline.draw(title="a").axes[-1]
    assert axis.get_xlim() == (0.0, 2.0)
    drawn = axis.collections[0].get_paths()[0].vertices[:, 0]
    assert (drawn.min(), drawn.max()) == (0.875, 2.0)
    assert ("95443.00 s" in axis.get_xlabel()) == bool(start_seconds)


def test_two_hours_of_short_segments_keep_their_colours(tmp_path):
    names = [LABELS[number // 10 % 4] for number in range(7200)]
    figure = make_timeline(names, rate_hz=1.0).draw(title="a")
    figure.savefig(tmp_path / "long.png")
    pixels = np.asarray(Image.open(tmp_path / "long.png").convert("RGB"))
    box = figure.axes[0].get_position()
    middle = round((1 - (box.y0 + box.y1) / 2) * len(pixels))
    left, right = (round(x * pixels.shape[1]) for x in (box.x0, box.x1))
    strip = pixels[middle, left + 2 : right - 2]
    wanted = {tuple(bytes.fromhex(COLOURS[label][1:])) for label in LABELS}
    assert {tuple(pixel) for pixel in strip.tolist()} == wanted
    assert "hours:minutes\none step is" in figure.axes[-1].get_xlabel()
    ticks = [tick.get_text() for tick in figure.axes[-1].get_xticklabels()]
    assert ticks[ticks.index("0:00") :][:3] == ["0:00", "0:10", "0:20"]


def test_long_names_are_cut_in_the_middle():
    labels = ("pretending to put something next to something else", "b")
    timeline = Timeline(labels, label_colours(labels), 8.0)
    prediction = make_prediction("pan", 0.0)
    timeline.add(replace(prediction, probabilities=np.asarray([0.9, 0.1], np.float32), top=()))
    figure = timeline.draw(title="x" * 300 + ".mp4")
    name = figure.axes[-1].get_yticklabels()[0].get_text()
    assert name == "pretending to put …to something else"
    title = figure.get_suptitle()
    assert len(title) == 110
    assert title.endswith("x.mp4")


def test_the_true_labels_are_drawn_above_the_predicted_ones():
    timeline = make_timeline(["pan"] * 8)
    truth = [Segment("pan", 0.0, 0.5), Segment("tilt", 0.5, 1.0)]
    figure = timeline.draw(title="a", truth=truth)
    names = [axis.get_yticklabels()[0].get_text() for axis in figure.axes[:2]]
    assert names == ["truth", "predicted"]
    bars = [axis.collections[0] for axis in figure.axes[:2]]
    assert [len(bar.get_paths()) for bar in bars] == [2, 1]
    assert [to_hex(c) for c in bars[0].get_facecolor()] == [COLOURS["pan"], COLOURS["tilt"]]


def test_only_the_likeliest_of_many_labels_are_drawn():
    labels = tuple(f"label {number}" for number in range(400))
    timeline = Timeline(labels, label_colours(labels), 8.0)
    prediction = make_prediction("pan", 0.0)
    probabilities = np.zeros(400, np.float32)
    probabilities[[7, 390]] = 0.5
    timeline.add(replace(prediction, probabilities=probabilities, top=()))
    rows = timeline.draw(title="a").axes[-1]
    names = [tick.get_text() for tick in rows.get_yticklabels()]
    assert len(names) == 12
    assert {"label 7", "label 390"} <= set(names)


def test_without_a_valid_prediction_the_picture_says_so(tmp_path):
    timeline = Timeline(LABELS, COLOURS, 8.0)
    timeline.add(make_prediction("pan", 0.0, valid=False))
    figure = timeline.draw(title="a")
    assert [text.get_text() for text in figure.axes[-1].texts] == ["no valid prediction"]
    figure.savefig(tmp_path / "empty.png")


def test_dollar_signs_are_not_read_as_formulas(tmp_path):
    labels = ("$\\oops$", "")
    timeline = Timeline(labels, label_colours(labels), 8.0)
    prediction = make_prediction("pan", 0.0)
    probabilities = np.asarray([0.9, 0.1], np.float32)
    timeline.add(replace(prediction, probabilities=probabilities, top=((labels[0], 0.9),)))
    truth = [Segment(labels[0], 0.0, 1.0), Segment(labels[1], 1.0, 2.0)]
    figure = timeline.draw(title="$\\worse$", truth=truth)
    figure.savefig(tmp_path / "dollars.png")


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".svg", ".pdf"])
def test_the_picture_is_written_in_the_format_of_its_suffix(tmp_path, labeller, suffix):
    path = tmp_path / f"timeline{suffix}"
    with timeline_picture(path, labeller, title="a") as timeline:
        for number in range(4):
            timeline.add(make_prediction("pan", number / 8))
    heads = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    assert path.read_bytes().startswith(heads[suffix.lower()])
    if suffix == ".png":
        with Image.open(path) as picture:
            assert picture.width == 1800


def test_another_suffix_is_refused_before_the_work(tmp_path, labeller):
    with (
        pytest.raises(OptionError, match=r"\.png"),
        timeline_picture(tmp_path / "a.docx", labeller, title="a"),
    ):
        pytest.fail("the block ran")
    assert not list(tmp_path.iterdir())
