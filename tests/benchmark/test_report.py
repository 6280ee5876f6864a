import dataclasses
import json
import re

import pytest

from co3d.benchmark.ceilings import Ceilings
from co3d.benchmark.report import Report, format_markdown, write_report
from co3d.errors import OutputError
from support.bench_records import CLIP, make_latency

STEP = dataclasses.replace(
    CLIP,
    what="step",
    backend="openvino 2026",
    macs_per_prediction=297_000_000,
    state_bytes=27_570_000,
    latency=make_latency(20.0),
    convert_seconds=8.0,
    speedups={"clip": 20.0, "continual-inference": 7.5},
)
PEER = dataclasses.replace(
    STEP,
    peer="continual-inference",
    latency=make_latency(150.0),
    convert_seconds=None,
    speedups={"clip": 2.7},
)


@pytest.fixture
def report() -> Report:
    return Report(
        command="co3d bench x3d_m",
        date="2026-11-25T07:00:00+00:00",
        device="cpu",
        hardware="A processor, 2 cores",
        threads=2,
        versions={"torch": "2.13"},
        ceilings={
            CLIP.model: Ceilings(
                {"float32": 20.0, "bfloat16": 40.0}, {"float32": 1.25, "bfloat16": 1.5}, 10.0
            )
        },
        records=(CLIP, STEP, PEER),
        remarks=(),
        is_complete=True,
    )


def test_json_contains_everything(report):
    found = json.loads(report.as_json())
    assert found["schema_version"] == 4
    assert found["device"] == "cpu"
    assert found["command"] == "co3d bench x3d_m"
    assert found["ceilings"][CLIP.model]["gmacs_per_second"] == {"float32": 20.0, "bfloat16": 40.0}
    assert [record["what"] for record in found["records"]] == ["clip", "step", "step"]
    assert found["records"][2]["peer"] == "continual-inference"
    assert found["records"][1]["latency"]["p95_ms"] == 40.0
    assert found["is_complete"]


def test_markdown_has_a_row_for_each_record(report):
    lines = format_markdown(report).splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    heads, _, clip, step, peer = rows
    assert len(clip) == len(step) == len(peer) == len(heads)
    assert [row[0] for row in rows[2:]] == ["clip", "step", "step"]
    cells = dict(zip(heads, step, strict=True))
    assert cells["median ms"] == "20.00"
    assert cells["clip ÷ this"] == "20.00"
    assert cells["continual-inference ÷ this"] == "7.50"
    assert cells["times product"] == "3.00"
    assert "peak MB" not in heads
    assert "Published accuracy: Kinetics-400 top-1, 30 views 76 %." in lines
    assert (
        "Ceilings, in the same rounds: matrix product 20.0 GMAC/s in float32 (p99 1.25 x median), "
        "matrix product 40.0 GMAC/s in bfloat16 (p99 1.50 x median), copy 10.0 GB/s." in lines
    )
    assert "15.9 times fewer" in "\n".join(lines)
    assert "Stopped" not in "\n".join(lines)


def test_a_stopped_benchmark_says_so(report):
    stopped = dataclasses.replace(report, is_complete=False)
    assert "Stopped before its end" in format_markdown(stopped)


def test_peak_memory_is_a_column_when_it_was_measured(report):
    records = tuple(dataclasses.replace(one, peak_bytes=512_300_000) for one in report.records)
    lines = format_markdown(dataclasses.replace(report, records=records)).splitlines()
    assert "| peak MB |" in next(line for line in lines if line.startswith("| what"))
    assert sum("| 512 |" in line for line in lines) == 3
    assert any("most memory of a process" in line for line in lines)


def test_gpu_and_process_peak_memory_are_separate(report):
    records = tuple(dataclasses.replace(one, peak_bytes=512_300_000) for one in report.records)
    text = format_markdown(dataclasses.replace(report, records=records, device="cuda:0"))
    assert "most memory of the device that PyTorch had allocated" in text
    assert "most memory of a process" not in text


@pytest.mark.parametrize(
    ("records", "work", "rows"),
    [
        ((STEP, PEER), "MACs per prediction: step 297 M; converted in 8.0 s.", {"step"}),
        ((CLIP, PEER), "MACs per prediction: clip 4,732 M.", {"clip", "step"}),
        (
            (CLIP, STEP),
            "clip 4,732 M, step 297 M (15.9 times fewer); converted in 8.0 s.",
            {"clip", "step"},
        ),
    ],
)
def test_a_clip_or_step_without_peak_memory_keeps_the_others(report, tmp_path, records, work, rows):
    written = write_report(dataclasses.replace(report, records=records), tmp_path)
    assert work in written[1].read_text(encoding="utf-8")
    picture = written[2].read_text(encoding="utf-8")
    assert set(re.findall(r">(clip|step), [^<]*, float32<", picture)) == rows


def test_omitted_measurements_are_listed(report):
    remarks = ("slowfast_r50_8x8: continual-inference does not have SlowFast",)
    text = format_markdown(dataclasses.replace(report, remarks=remarks))
    assert f"Not measured:\n\n- {remarks[0]}\n" in text


def test_the_report_is_written_as_three_files(report, tmp_path):
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
