import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from co3d.datasets.manifest import Manifest, Segment, VideoEntry
from co3d.datasets.manifest_file import read_manifest
from co3d.errors import DataError

HEADER = json.dumps({"format": "co3d manifest", "version": 1, "class_names": ["run", "swim"]})
ENTRY = '{"video_id": "a", "path": "run/a.mp4", "labels": [0]}'


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_saved_manifest_loads_unchanged(tmp_path):
    entries = (
        VideoEntry("a", "run/a b ü 漢字.mp4", (0,)),
        VideoEntry("b", "frames/b", (0, 1), 1.5, 9.0, (Segment(1, 2.0, 3.25),), rate_hz=24.0),
        VideoEntry("c", "c.mp4", (), split="test"),
    )
    manifest = Manifest(tmp_path / "set", ("run", "swim"), entries, multi_label=True)
    manifest.save(tmp_path / "manifest.jsonl")
    loaded = read_manifest(tmp_path / "manifest.jsonl")
    assert loaded == manifest
    assert loaded.splits == {None: 2, "test": 1}
    assert [entry.video_id for entry in loaded.take_split("test").entries] == ["c"]
    assert loaded.count_labels() == {"run": 2, "swim": 1}
    assert loaded.resolve(entries[1]) == tmp_path / "set" / "frames" / "b"
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.jsonl"]


def test_a_root_below_the_manifest_moves_with_it(tmp_path):
    (tmp_path / "one").mkdir()
    Manifest(tmp_path / "one", ("run",), ()).save(tmp_path / "one" / "m.jsonl")
    (tmp_path / "one").rename(tmp_path / "two")
    assert read_manifest(tmp_path / "two" / "m.jsonl").root == tmp_path / "two"


@pytest.mark.parametrize(
    ("lines", "line", "expected"),
    [
        (['{"format": "other"}'], 1, "co3d manifest"),
        (['{"format": "co3d manifest", "version": 9}'], 1, '"version": 1'),
        ([HEADER.replace("swim", "run")], 1, "every class name once"),
        ([HEADER, "[" * 100_000], 2, "JSON object"),
        ([HEADER, "9" * 5000], 2, "JSON object"),
        ([HEADER, ENTRY[:-4]], 2, "JSON object"),
        ([HEADER, ENTRY, ENTRY], 3, "another id than that of line 2"),
        ([HEADER, ENTRY.replace("[0]", "[2]")], 2, "class index from 0 to 1"),
        ([HEADER, ENTRY.replace("[0]", "[true]")], 2, "class index"),
        ([HEADER, ENTRY.replace("[0]", "[0, 1]")], 2, "one label at most"),
        ([HEADER, ENTRY.replace("run/a.mp4", "../../etc/passwd")], 2, "without .."),
        ([HEADER, ENTRY.replace("run/a.mp4", "/etc/passwd")], 2, "relative path"),
        ([HEADER, ENTRY.replace("}", ', "rate_hz": NaN}')], 2, "rate_hz"),
        ([HEADER, ENTRY.replace("}", ', "start_seconds": -1}')], 2, "start_seconds"),
        ([HEADER, ENTRY.replace("}", ', "start_seconds": 3, "end_seconds": 2}')], 2, "after"),
        ([HEADER, ENTRY.replace("}", ', "extra": 1}')], 2, "only the fields"),
        ([HEADER, ENTRY.replace("}", ', "segments": [{}]}')], 2, "a segment with"),
        ([HEADER, ENTRY.replace("}", ', "split": 3}')], 2, "the name of a split"),
        ([HEADER, ENTRY.replace("}", ', "source": ""}')], 2, "the name of a source"),
        (["a.mp4,run"], 1, "JSON object"),
    ],
)
def test_a_broken_manifest_names_its_line(tmp_path, lines, line, expected):
    with pytest.raises(DataError, match=f"line {line}: got .* expected ") as info:
        read_manifest(write(tmp_path / "manifest", *lines))
    assert expected in str(info.value)
    assert len(str(info.value)) < 400 + len(str(tmp_path))


def test_binary_empty_and_absent_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_manifest(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no line"):
        read_manifest(write(tmp_path / "empty", ""))
    (tmp_path / "binary").write_bytes(b"{\xff\xfe")
    with pytest.raises(DataError, match="got byte 0xff, expected UTF-8"):
        read_manifest(tmp_path / "binary")


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_load_or_raise_a_data_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    for content in (data, HEADER.encode() + b"\n" + data):
        path.write_bytes(content)
        try:
            read_manifest(path)
        except DataError as error:
            assert "expected" in str(error)  # noqa: PT017
