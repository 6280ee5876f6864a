import dataclasses

import pytest
import torch

from co3d.benchmark.ceilings import Ceilings, measure_ceilings
from co3d.benchmark.subjects import Selection, measure_model, select_engines
from co3d.errors import OptionError, UnknownModelError

CEILINGS = Ceilings({"float32": 20.0}, 10.0)
TINY = Selection((("torch", "float32"),), steps=1, size_px=32)


def test_records_tell_clip_and_step_of_each_batch_size():
    selection = dataclasses.replace(
        TINY, engines=(("torch", "float32"), ("torch", "bfloat16")), batches=(1, 2)
    )
    records = measure_model("camera_motion", selection, CEILINGS)
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
    clip, step = measure_model("camera_motion", TINY, CEILINGS)
    assert clip.speedup_over_clip == 1
    assert step.speedup_over_clip == pytest.approx(clip.latency.median_ms / step.latency.median_ms)
    assert step.speedup_over_peer is None
    floor_ms = step.macs_per_prediction / 20e9 * 1e3
    assert step.times_the_floor == pytest.approx(step.latency.median_ms / floor_ms)


def test_a_precision_without_a_ceiling_has_no_floor():
    selection = dataclasses.replace(TINY, engines=(("torch", "float64"),))
    assert measure_model("camera_motion", selection, CEILINGS)[1].times_the_floor is None


def test_native_rate_times_whole_periods():
    selection = dataclasses.replace(TINY, rate="native", steps=5)
    clip, step = measure_model("i3d_r50", selection, CEILINGS)
    assert step.rate == "native"
    assert step.latency.samples >= 3  # of two steps each
    assert step.macs_per_prediction < clip.macs_per_prediction


def test_engines_are_the_pairs_that_exist():
    pairs = select_engines(["torch", "onnxruntime"], ["float32", "bfloat16"])
    assert pairs == (("torch", "float32"), ("torch", "bfloat16"), ("onnxruntime", "float32"))


@pytest.mark.parametrize(
    ("backends", "precisions", "message"),
    [
        (["tensorflow"], ["float32"], "got backend 'tensorflow'"),
        (["torch"], ["float16"], "got precision 'float16'"),
        (["onnxruntime"], ["bfloat16"], "none of onnxruntime has the precision bfloat16"),
    ],
)
def test_engines_that_do_not_exist_are_named(backends, precisions, message):
    with pytest.raises(OptionError, match=message):
        select_engines(backends, precisions)


def test_an_unknown_model_is_named():
    with pytest.raises(UnknownModelError, match="x3d_m"):
        measure_model("x3d_n", TINY, CEILINGS)


def test_a_peer_without_the_rate_is_refused():
    selection = dataclasses.replace(TINY, peers=("continual-inference",))
    with pytest.raises(OptionError, match="use --rate native"):
        measure_model("i3d_r50", selection, CEILINGS)


def test_ceilings_are_measured():
    ceilings = measure_ceilings()
    assert set(ceilings.gmacs_per_second) == {"float32", "bfloat16"}
    assert all(value > 0 for value in ceilings.gmacs_per_second.values())
    assert ceilings.copy_gb_per_second > 0


def test_the_floor_is_macs_over_the_ceiling():
    assert CEILINGS.floor_ms(40e9, "float32") == pytest.approx(2000)
    assert CEILINGS.floor_ms(40e9, "float64") is None
