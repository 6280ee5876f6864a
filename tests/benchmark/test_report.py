import dataclasses
import json

import pytest

from co3d.benchmark.ceilings import Ceilings
from co3d.benchmark.report import HEADINGS, Report, format_markdown, write_report
from co3d.benchmark.subjects import Record
from co3d.benchmark.timing import Latency
from co3d.errors import OutputError


def make_latency(median_ms: float) -> Latency:
    return Latency(100, 10, median_ms, median_ms * 2, median_ms * 3, median_ms, 0.5, 50.0, 1.5)


CLIP = Record(
    model="x3d_m",
    what="clip",
    backend="torch (eager) 2.13",
    precision="float32",
    batch=1,
    threads=2,
    rate="dense",
    size_px=224,
    parameters=3_794_322,
    macs_per_prediction=4_732_000_000,
    state_bytes=0,
    latency=make_latency(400.0),
    convert_seconds=None,
    open_seconds=0.0,
    speedup_over_clip=1.0,
    speedup_over_peer=None,
    times_the_floor=3.0,
)
STEP = dataclasses.replace(
    CLIP,
    what="step",
    backend="openvino 2026",
    macs_per_prediction=297_000_000,
    state_bytes=27_570_000,
    latency=make_latency(20.0),
    convert_seconds=8.0,
    speedup_over_clip=20.0,
    speedup_over_peer=7.5,
)
PEER = dataclasses.replace(
    STEP, what="peer", latency=make_latency(150.0), convert_seconds=None, speedup_over_peer=None
)


@pytest.fixture
def report() -> Report:
    return Report(
        command="co3d bench x3d_m",
        hardware="A processor, 2 cores",
        threads=2,
        versions={"torch": "2.13"},
        ceilings=Ceilings({"float32": 20.0, "bfloat16": 40.0}, 10.0),
        records=(CLIP, STEP, PEER),
        is_complete=True,
    )


def test_json_holds_everything(report):
    found = json.loads(report.as_json())
    assert found["schema_version"] == 1
    assert found["command"] == "co3d bench x3d_m"
    assert found["ceilings"]["gmacs_per_second"] == {"float32": 20.0, "bfloat16": 40.0}
    assert [record["what"] for record in found["records"]] == ["clip", "step", "peer"]
    assert found["records"][1]["latency"]["p95_ms"] == 40.0
    assert found["is_complete"]


def test_markdown_has_a_row_for_each_record(report):
    lines = format_markdown(report).splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    assert rows[0] == list(HEADINGS)
    assert all(len(row) == len(HEADINGS) for row in rows)
    assert [row[0] for row in rows[2:]] == ["clip", "step", "peer"]
    assert rows[3][4] == "20.00"
    assert rows[3][9:11] == ["20.00", "7.50"]
    assert "15.9 times fewer" in "\n".join(lines)
    assert "Stopped" not in "\n".join(lines)


def test_a_stopped_benchmark_says_so(report):
    stopped = dataclasses.replace(report, is_complete=False)
    assert "Stopped before its end" in format_markdown(stopped)


def test_files_are_written_whole(report, tmp_path):
    folder = tmp_path / "new" / "results"
    written = write_report(report, folder)
    assert sorted(folder.iterdir()) == sorted(written)
    assert {path.name for path in written} == {"bench.json", "bench.md", "bench.svg"}
    assert (folder / "bench.md").read_text(encoding="utf-8") == format_markdown(report)
    assert "<svg" in (folder / "bench.svg").read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_made_is_named(report, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot make the folder"):
        write_report(report, tmp_path / "file")
