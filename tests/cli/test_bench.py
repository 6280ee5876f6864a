import json

import pytest
import torch

from co3d.benchmark import ceilings, timing
from co3d.benchmark.ceilings import Sizes

TINY = ("camera_motion", "--size", 32, "--steps", 2)


@pytest.fixture(autouse=True)
def _be_quick(monkeypatch):
    """How settled the latencies are does not matter here."""
    monkeypatch.setattr(timing, "LEAST_DISCARDED_SECONDS", 0.0)
    monkeypatch.setattr(ceilings, "CPU_SIZES", Sizes((64, 128), 2**20))


def test_json_goes_to_standard_output_alone(co3d):
    outcome = co3d("bench", *TINY, "--backend", "torch", "--batch", "1,2", "--json")
    assert outcome.code == 0
    report = json.loads(outcome.out)
    assert report["is_complete"]
    assert report["command"] == (
        "co3d bench camera_motion --backend torch --precision float32 --batch 1,2 --rate dense "
        "--steps 2 --size 32"
    )
    kinds = [(record["what"], record["batch"]) for record in report["records"]]
    assert kinds == [("clip", 1), ("step", 1), ("clip", 2), ("step", 2)]
    assert all(record["latency"]["median_ms"] > 0 for record in report["records"])


def test_tables_are_printed_and_files_written(co3d, tmp_path):
    folder = tmp_path / "results"
    outcome = co3d("bench", *TINY, "--backend", "torch", "--output", folder)
    assert outcome.code == 0
    assert "camera_motion: 8 frames of 32 px, dense rate" in outcome.out
    rows = [line.split() for line in outcome.out.splitlines()]
    clip, step = (next(row for row in rows if row[:1] == [what]) for what in ("clip", "step"))
    # In ms, p95, how many times a clip takes as long, and per second.
    assert float(step[-2]) == pytest.approx(float(clip[-4]) / float(step[-4]), rel=0.2)
    lines = outcome.out.splitlines()[1:]
    assert max(len(line) for line in lines if not line.startswith("times vary")) <= 80
    assert "### camera_motion" in (folder / "bench.md").read_text(encoding="utf-8")
    assert {path.name for path in folder.iterdir()} == {"bench.json", "bench.md", "bench.svg"}
    assert f"wrote {folder / 'bench.svg'}" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--batch", "1,zero"), "cannot measure the batch sizes 1, zero"),
        (("--batch", "0"), "cannot measure the batch sizes 0"),
        (("--steps", 0), "cannot measure 0 steps"),
        (("--threads", 0), "cannot use 0 threads"),
        (("--backend", "tensorflow"), "got backend 'tensorflow'"),
        (("--precision", "float8"), "got precision 'float8'"),
        (("--peer", "another"), "got peer 'another'"),
        (("--device", "cuda:99"), "on device 'cuda:99'"),
        (("--device", "meta", "--backend", "native"), "none of native has the precision float32"),
    ],
)
def test_options_out_of_range_are_named_before_anything_is_measured(co3d, arguments, message):
    outcome = co3d("bench", "camera_motion", *arguments)
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1].startswith("error: ")
    assert message in outcome.err
    assert outcome.out == ""


@pytest.mark.slow
def test_the_device_reaches_the_report(co3d, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: None)
    outcome = co3d("bench", *TINY, "--backend", "torch", "--device", "meta", "--json")
    assert outcome.code == 0
    report = json.loads(outcome.out)
    assert report["device"] == "meta"
    assert report["hardware"].startswith("meta, ")
    assert report["command"].endswith("--steps 2 --size 32 --device meta")
    assert [record["what"] for record in report["records"]] == ["clip", "step"]


@pytest.mark.slow
def test_the_cpu_may_be_named(co3d):
    outcome = co3d("bench", *TINY, "--backend", "torch", "--device", "cpu", "--json")
    assert outcome.code == 0
    report = json.loads(outcome.out)
    assert report["device"] == "cpu"
    assert "--device" not in report["command"]


def test_a_device_that_nothing_fits_on_is_named(co3d, monkeypatch):
    def measure_nothing(name, selection, on_burst, on_remark):
        on_remark(f"{name}: it needs more memory")
        return [], None

    monkeypatch.setattr("co3d.cli.bench.measure_model", measure_nothing)
    outcome = co3d("bench", *TINY, "--backend", "torch")
    assert outcome.code == 2
    assert "give a smaller --batch" in outcome.err
    assert outcome.out == ""


def test_an_unknown_model_is_named(co3d):
    outcome = co3d("bench", "camera_motion", "x3d_n")
    assert outcome.code == 20
    assert "x3d_m" in outcome.err


@pytest.mark.slow
def test_finished_models_are_reported_when_stopped(co3d, monkeypatch):
    from co3d.cli import bench

    measure_model = bench.measure_model

    def stop_at_the_second(name, *arguments):
        if name == "x3d_xs":
            raise KeyboardInterrupt
        return measure_model(name, *arguments)

    monkeypatch.setattr(bench, "measure_model", stop_at_the_second)
    outcome = co3d("bench", *TINY, "x3d_xs", "--backend", "torch", "--json")
    assert outcome.code == 130
    report = json.loads(outcome.out)
    assert not report["is_complete"]
    assert {record["model"] for record in report["records"]} == {"camera_motion"}


def test_nothing_is_printed_when_stopped_at_once(co3d, monkeypatch):
    def stop(*arguments) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("co3d.cli.bench.measure_model", stop)
    outcome = co3d("bench", *TINY)
    assert outcome.code == 130
    assert outcome.out == ""
    assert "stopped" in outcome.err
