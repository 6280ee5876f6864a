import dataclasses
import json
import resource
import signal
from array import array

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from co3d.errors import DataError, OptionError, OutputError
from co3d.evaluation.log import PredictionLog, read_log
from co3d.evaluation.records import FrameTrace, VideoRecord, pack

SETTINGS = {"model": "camera_motion", "window": 8, "views": None}
RECORD = VideoRecord(
    index=3,
    video_id="ü漢字",
    labels=(1,),
    scores={"warm": pack(torch.tensor([0.25, 0.75])), "last": pack(torch.tensor([0.1, 0.9]))},
    trace=FrameTrace(array("d", (0.0, 0.5)), array("i", (1, 1)), array("f", (0.75, 0.9)), 1),
    moments=(array("f", (0.5, 0.5)),),
    moment_labels=((),),
    milestones=(array("f", (0.25, 0.75)), array("f", (0.1, 0.9))),
    frames=2,
)
BAD = VideoRecord(index=4, video_id="b", labels=(), scores={}, error="EmptyVideoError: none")


def write(path, *records):
    with PredictionLog(path, SETTINGS) as log:
        for record in records:
            log.append(record)


def test_records_survive_a_round_trip(tmp_path):
    path = tmp_path / "new" / "log.jsonl"
    write(path, RECORD)
    write(path, BAD)
    with PredictionLog(path, SETTINGS) as log:
        assert log.records == [RECORD, BAD]


def test_a_full_disk_is_a_typed_error_and_the_next_run_resumes(tmp_path):
    """A limit on the size of files stands for the disk; the last line is written in part."""
    path = tmp_path / "log.jsonl"
    write(path, RECORD)
    room = path.stat().st_size + 10
    before, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.SIG_IGN
    handler = signal.signal(signal.SIGXFSZ, ignored)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(OutputError, match="run the same command again to go on"):
            write(path, BAD)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.stat().st_size == room
    write(path, BAD)
    assert read_log(path, SETTINGS) == [RECORD, BAD]


@given(st.lists(st.floats(0, 1, width=32), min_size=1))
def test_probabilities_survive_a_round_trip_bit_for_bit(values):
    record = dataclasses.replace(RECORD, scores={"clip": pack(torch.tensor(values))})
    text = json.dumps(record.to_json())
    assert VideoRecord.from_json(json.loads(text)) == record
    assert record.scores["clip"].tolist() == values


@pytest.mark.parametrize("lost", range(1, 60, 7))
def test_an_incomplete_last_line_is_dropped(tmp_path, lost):
    path = tmp_path / "log.jsonl"
    write(path, RECORD, BAD)
    path.write_bytes(path.read_bytes()[:-lost])
    assert read_log(path, SETTINGS) == [RECORD]
    write(path, dataclasses.replace(BAD, index=5))
    assert [record.index for record in read_log(path, SETTINGS)] == [3, 5]


def test_a_kill_during_the_first_line_leaves_an_empty_log(tmp_path):
    path = tmp_path / "log.jsonl"
    write(path)
    path.write_bytes(path.read_bytes()[:20])
    write(path, RECORD)
    assert read_log(path, SETTINGS) == [RECORD]


def test_a_log_with_other_settings_is_refused_and_unchanged(tmp_path):
    path = tmp_path / "log.jsonl"
    write(path, RECORD)
    before = path.read_bytes()
    with pytest.raises(OptionError, match="window 8, now 64"):
        PredictionLog(path, SETTINGS | {"window": 64})
    assert path.read_bytes() == before


@pytest.mark.parametrize("line", [b"{}", b"[1]", b"null", b'{"index": 1}', b"\xff", b"garbage"])
def test_a_damaged_line_in_the_middle_is_reported_by_number(tmp_path, line):
    path = tmp_path / "log.jsonl"
    write(path, RECORD, BAD)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], line + b"\n", *lines[2:]]))
    with pytest.raises(DataError, match="line 3 of"):
        PredictionLog(path, SETTINGS)


@pytest.mark.parametrize("content", [b"a film\n", b"notes without an end"])
def test_a_file_that_is_no_log_is_refused_and_unchanged(tmp_path, content):
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match="is no co3d evaluation log"):
        PredictionLog(path, SETTINGS)
    assert path.read_bytes() == content
