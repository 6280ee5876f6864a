"""What a report says, from records made by hand."""

import json
from array import array

import pytest
import torch

from co3d.evaluation import tables
from co3d.evaluation.published import PublishedFigure
from co3d.evaluation.records import FrameTrace, VideoRecord, pack
from co3d.evaluation.report import format_run, write_report
from co3d.evaluation.run import RunResult
from co3d.evaluation.summary import summarise

SETTINGS = {
    "model": "x3d_m",
    "weights": "kinetics400",
    "data": "k400",
    "mode": "clip",
    "views": "10x3",
    "window": None,
    "rate_hz": 6.0,
}
NAMES = ("walk", "run | away", "$swim_^")


def make_record(index, label, *, score=0.8, error=None):
    if error:
        return VideoRecord(index, f"v|{index}", (label,), {}, error=error)
    rest = (1 - score) / 2
    scores = array("f", (score if k == (label + (index == 1)) % 3 else rest for k in range(3)))
    trace = FrameTrace(array("d", (0.0, 0.5)), array("i", (0, label)), array("f", (0.5, 0.5)), 1)
    return VideoRecord(index, f"v{index}", (label,), {"last": scores}, trace=trace, frames=2)


@pytest.fixture
def summary():
    records = [make_record(index, index % 3) for index in range(6)]
    records.append(make_record(6, 0, error="EmptyVideoError: nothing\nthere | at <b>all"))
    return summarise(
        RunResult(tuple(records), 2, 100, 4.0),
        settings=SETTINGS,
        class_names=NAMES,
        multi_label=False,
        processes=1,
        published=[
            PublishedFigure("top-1, 30 views", 76.2, ()),
            PublishedFigure("top-1, 10 views", 75.1, ("views 10x3 instead of 10x1", "a | b")),
        ],
    )


def test_the_report_contains_every_result(summary, tmp_path):
    written = write_report(summary, tmp_path, command="co3d eval")
    names = {path.name for path in written}
    assert {"report.md", "summary.json", "confusion.png", "classes.png"} < names
    assert {path.name for path in tmp_path.iterdir()} == names
    text = (tmp_path / "report.md").read_text()
    assert "| last: after the last frame | 83.33 | 100.00 | 83.33 |" in text
    assert (
        "measured as in this run:\n\n| measure | % |\n|---|---:|\n| top-1, 30 views | 76.2 |"
        in text
    )
    assert "not to be compared with this run:\n" in text
    assert "| top-1, 10 views | 75.1 | views 10x3 instead of 10x1; a \\| b |" in text
    assert "6 videos were evaluated, 1 were left out." in text
    assert "| v\\|6 | EmptyVideoError: nothing there \\| at &lt;b>all |" in text
    assert "| run \\| away | $swim_^ | 1 |" in text
    assert "frames/s" not in text  # equal runs write equal bytes
    assert list(format_run(summary)) == [
        "2 videos were evaluated by an earlier run",
        "25.0 frames/s in each of 1 process(es), reading included",
    ]
    values = json.loads((tmp_path / "summary.json").read_text())
    assert values["videos"]["per_class"] == [2, 2, 2]
    assert (tmp_path / "classes.csv").read_text().splitlines() == [
        'index,class,videos,"accuracy, last"',
        "0,walk,2,1.000000",
        "1,run | away,2,0.500000",
        "2,$swim_^,2,1.000000",
    ]
    assert values["measures"]["last"]["confusion"] == [[2, 0, 0], [0, 1, 1], [0, 0, 2]]
    assert values["run"]["resumed"] == 2
    assert values["published"][0] == {
        "measure": "top-1, 30 views",
        "percent": 76.2,
        "differences": [],
    }


def test_a_run_without_any_good_video_has_a_report(summary, tmp_path):
    bad = [make_record(index, 0, error="EmptyVideoError: none") for index in range(30)]
    empty = summarise(
        RunResult(tuple(bad), 0, 0, 1.0),
        settings=summary.settings,
        class_names=NAMES,
        multi_label=False,
        processes=1,
        published=(),
    )
    write_report(empty, tmp_path, command="co3d eval")
    text = (tmp_path / "report.md").read_text()
    assert "No video could be evaluated." in text
    assert "| 10 more | see summary.json |" in text
    assert json.loads((tmp_path / "summary.json").read_text())["measures"] == {}


def test_many_classes_are_drawn_without_their_names(summary, tmp_path):
    classes = 60
    generator = torch.Generator().manual_seed(0)
    records = tuple(
        VideoRecord(
            index,
            str(index),
            (index % classes,),
            {"clip": pack(torch.rand(classes, generator=generator).softmax(0))},
            frames=1,
        )
        for index in range(2 * classes)
    )
    many = summarise(
        RunResult(records, 0, 1, 1.0),
        settings=summary.settings,
        class_names=[f"class {index}" for index in range(classes)],
        multi_label=False,
        processes=1,
        published=(),
    )
    write_report(many, tmp_path, command="co3d eval")
    assert "## Confusion" in (tmp_path / "report.md").read_text()


def test_without_pyarrow_tables_are_written_as_json_lines(summary, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "is_installed", lambda package: package != "pyarrow")
    predictions, frames = tables.write_predictions(
        [*summary.evaluated, *summary.excluded], tmp_path
    )
    assert (predictions.name, frames.name) == ("predictions.jsonl", "frames.jsonl")
    rows = [json.loads(line) for line in predictions.read_text().splitlines()]
    assert rows[0]["last"] == summary.evaluated[0].scores["last"].tolist()
    assert rows[6]["last"] is None
    assert len(frames.read_text().splitlines()) == 12
