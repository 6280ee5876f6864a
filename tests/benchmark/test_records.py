import dataclasses

import pytest
import torch

from co3d.benchmark import ceilings as ceilings_module
from co3d.benchmark import records as records_module
from co3d.benchmark import timing
from co3d.benchmark.ceilings import Sizes
from co3d.benchmark.engines import open_clip
from co3d.benchmark.memory import AloneTask, run_alone
from co3d.benchmark.records import measure_model
from co3d.benchmark.selection import Selection, Variant, select_peers
from co3d.compiler import convert
from co3d.errors import OptionError, UnknownModelError
from co3d.models import create_model
from co3d.runtime.choice import select_engines

TINY = Selection((("torch", "float32"),), steps=1, size_px=32)


@pytest.fixture(autouse=True)
def _be_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the latencies are does not matter here, so neither does how settled they are."""
    monkeypatch.setattr(timing, "LEAST_DISCARDED_SECONDS", 0.0)
    monkeypatch.setattr(ceilings_module, "CPU_SIZES", Sizes((64, 128), 2**20))


def test_there_is_a_record_for_clip_and_step_at_each_batch_size():
    selection = dataclasses.replace(
        TINY, engines=(("torch", "float32"), ("torch", "bfloat16")), batches=(1, 2)
    )
    records, _ = measure_model("camera_motion", selection)
    assert [(one.what, one.precision, one.batch) for one in records] == [
        (what, precision, batch)
        for batch in (1, 2)
        for what, precision in (("clip", "float32"), ("step", "float32"), ("step", "bfloat16"))
    ]
    clip, step, half, _, twice, _ = records
    assert clip.macs_per_prediction > step.macs_per_prediction > 0
    assert clip.state_bytes == 0
    assert twice.state_bytes == 2 * step.state_bytes == 4 * half.state_bytes
    assert clip.parameters == step.parameters > 0
    assert step.threads == torch.get_num_threads()
    assert step.size_px == 32
    assert clip.convert_seconds is None
    assert step.convert_seconds is not None


def test_ratios_follow_from_the_latencies():
    (clip, step), ceilings = measure_model("camera_motion", TINY)
    assert clip.speedups == {}
    ratio = pytest.approx(clip.latency.median_ms / step.latency.median_ms)
    assert step.speedups == {"clip": ratio, "fastest clip, same precision": ratio}
    product_ms = ceilings.product_ms(step.macs_per_prediction, "float32")
    assert step.times_the_product == pytest.approx(step.latency.median_ms / product_ms)
    read_bytes = 4 * step.parameters + step.state_bytes + 4 * 3 * 32 * 32
    assert step.times_the_copy == pytest.approx(
        step.latency.median_ms / ceilings.copy_ms(read_bytes)
    )


@pytest.mark.slow
def test_clips_of_an_engine_are_compared_with_its_steps():
    engines = (("torch", "float32"), ("onnxruntime", "float32"), ("onnxruntime", "int8"))
    selection = dataclasses.replace(TINY, engines=engines, clips=True)
    records, _ = measure_model("camera_motion", selection)
    assert [(one.what, one.precision) for one in records] == [
        ("clip", "float32"),
        ("step", "float32"),
        ("clip", "float32"),
        ("step", "float32"),
        ("step", "int8"),
    ]
    eager, step, other_clip, other_step, rounded = records
    assert set(step.speedups) == {"clip", "fastest clip, same precision"}
    assert set(other_clip.speedups) == {"clip"}
    assert set(rounded.speedups) == {"clip"}
    ratio = other_clip.latency.median_ms / other_step.latency.median_ms
    assert other_step.speedups["clip, same engine"] == pytest.approx(ratio)
    fastest = min(eager.latency.median_ms, other_clip.latency.median_ms)
    for one in (step, other_step):
        ratio = fastest / one.latency.median_ms
        assert one.speedups["fastest clip, same precision"] == pytest.approx(ratio)
    assert "int8" in rounded.backend
    assert eager.macs_per_prediction == other_clip.macs_per_prediction


@pytest.mark.parametrize("backend", ["native", "onnxruntime"])
def test_clips_of_an_engine_equal_the_clip_network(backend):
    torch.manual_seed(0)
    model = create_model("camera_motion")
    program = convert(model, (3, 8, 32, 32))
    clip = torch.randn(2, 3, 8, 32, 32)
    run, description = open_clip(program, clip, backend, "float32")
    assert description.startswith(backend)
    with torch.no_grad():
        expected = program.clip_graph(clip)
    torch.testing.assert_close(run()[0], expected, rtol=1e-4, atol=1e-4)


def test_a_precision_without_a_ceiling_is_not_compared_with_a_product():
    selection = dataclasses.replace(TINY, engines=(("torch", "float64"),))
    (_, step), ceilings = measure_model("camera_motion", selection)
    assert step.times_the_product is None
    assert ceilings.gmacs_per_second.keys() == {"float32"}  # of the eager clip


@pytest.mark.slow
def test_native_rate_times_whole_periods():
    selection = dataclasses.replace(TINY, rate="native", steps=5)
    (clip, step), _ = measure_model("i3d_r50", selection)
    assert step.rate == "native"
    assert step.latency.samples >= 3  # of two steps each
    # A result every second frame, of frames of 32 px that leave the deepest layers one pixel.
    assert step.frames_per_prediction == 2
    assert step.prediction_ms == pytest.approx(2 * step.latency.median_ms)
    assert step.speedups["clip"] == pytest.approx(clip.latency.median_ms / step.prediction_ms)
    assert clip.macs_per_prediction / step.macs_per_prediction == pytest.approx(4, rel=0.01)


def test_engines_are_the_existing_pairs_of_backend_and_precision():
    pairs = select_engines(["torch", "onnxruntime"], ["float32", "bfloat16"])
    assert pairs == (("torch", "float32"), ("torch", "bfloat16"), ("onnxruntime", "float32"))


@pytest.mark.parametrize(
    ("backends", "precisions", "message"),
    [
        (["tensorflow"], ["float32"], "got backend 'tensorflow'"),
        (["torch"], ["float8"], "got precision 'float8'"),
        (["onnxruntime"], ["bfloat16"], "none of onnxruntime has the precision bfloat16"),
    ],
)
def test_unknown_engines_are_refused_by_name(backends, precisions, message):
    with pytest.raises(OptionError, match=message):
        select_engines(backends, precisions)


def test_an_unknown_model_is_named():
    with pytest.raises(UnknownModelError, match="x3d_m"):
        measure_model("x3d_n", TINY)


@pytest.mark.parametrize(
    ("name", "remark"),
    [
        ("i3d_r50", "i3d_r50: continual-inference has no dense rate beside a temporal stride"),
        ("camera_motion", "camera_motion: continual-inference does not have CameraMotion"),
    ],
)
def test_a_peer_that_cannot_run_a_network_is_left_out_with_a_remark(name, remark):
    selection = dataclasses.replace(TINY, peers=("continual-inference",))
    remarks = []
    records, _ = measure_model(name, selection, on_remark=remarks.append)
    assert [(record.what, record.peer) for record in records] == [("clip", None), ("step", None)]
    assert len(remarks) == 1
    assert remarks[0].startswith(remark)


@pytest.mark.slow
def test_peak_memory_is_measured_in_a_separate_process():
    selection = dataclasses.replace(TINY, memory=True)
    ballast = torch.ones(2**28)  # a gigabyte, which must not count
    (clip, step), _ = measure_model("camera_motion", selection)
    assert clip.peak_bytes is not None
    assert step.peak_bytes is not None
    assert 50e6 < clip.peak_bytes < ballast.nbytes
    assert 50e6 < step.peak_bytes < ballast.nbytes


def test_everything_runs_on_the_device_and_is_synchronised(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)
    engines = (("torch", "float32"), ("torch", "bfloat16"))
    # A device without numbers: operators refuse tensors of another one all the same.
    selection = dataclasses.replace(TINY, engines=engines, clips=True, device="meta")
    records, _ = measure_model("camera_motion", selection)
    kinds = [("clip", "float32"), ("step", "float32"), ("clip", "bfloat16"), ("step", "bfloat16")]
    assert [(one.what, one.precision) for one in records] == kinds
    assert all("on meta" in one.backend for one in records[1:])
    assert set(waited) == {torch.device("meta")}
    assert len(waited) >= sum(one.latency.samples for one in records)


def test_a_cpu_is_not_synchronised(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)
    measure_model("camera_motion", TINY)
    assert waited == []


@pytest.mark.parametrize("what", ["clip", "step"])
def test_the_memory_process_uses_the_device(what):
    task = AloneTask(
        model="camera_motion",
        variant=Variant(what, None, "torch", "float32", 2),
        rate="dense",
        size_px=32,
        threads=torch.get_num_threads(),
        window=8,
        device="meta",
    )
    assert run_alone(task) > 0


def test_measurements_without_enough_device_memory_are_left_out_with_a_remark(monkeypatch):
    open_subject = records_module.open_subject

    def fail() -> None:
        raise torch.OutOfMemoryError

    def open_what_fits(variant, *arguments):
        if variant.what == "clip" and variant.batch == 4:
            fail()  # the clip itself is too large
        opened = open_subject(variant, *arguments)
        if variant.what == "clip" and variant.batch == 2:  # what it computes is too large
            return dataclasses.replace(
                opened, subject=dataclasses.replace(opened.subject, call=fail)
            )
        return opened

    monkeypatch.setattr(records_module, "open_subject", open_what_fits)
    remarks = []
    selection = dataclasses.replace(TINY, batches=(1, 2, 4))
    records, _ = measure_model("camera_motion", selection, on_remark=remarks.append)
    kinds = [(one.what, one.batch) for one in records]
    assert kinds == [("clip", 1), ("step", 1), ("step", 2), ("step", 4)]
    assert [one.speedups.keys() >= {"clip"} for one in records[1:]] == [True, False, False]
    assert remarks == [
        f"camera_motion: the clip on torch in float32, batch {batch}, needs more memory than cpu "
        "has"
        for batch in (2, 4)
    ]


def test_an_unknown_peer_is_named():
    with pytest.raises(OptionError, match="got peer 'another', expected one of continual-infer"):
        select_peers(["another"])
