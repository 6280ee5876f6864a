"""The picture of a benchmark: which rows it shows, and what they say."""

import dataclasses

from co3d.benchmark.picture import _draw, choose_rows
from co3d.benchmark.records import Record
from support.bench_records import CLIP as A_CLIP
from support.bench_records import make_latency


def make_record(what: str, backend: str, precision: str, median_ms: float, **changed) -> Record:
    return dataclasses.replace(
        A_CLIP,
        what=what,
        backend=backend,
        precision=precision,
        macs_per_prediction=4_732_000_000 if what == "clip" else 298_000_000,
        latency=make_latency(median_ms),
        **{"speedups": {"clip": 404.0 / median_ms}, **changed},
    )


CLIP = make_record("clip", "torch 2.13.0+cpu, eager", "float32", 404.0, speedups={})
FAST_CLIP = make_record("clip", "openvino 2026.4.1, float32 on cpu", "float32", 73.0)
STEP = make_record("step", "native, float32 on cpu, 2 threads", "float32", 4.7)
LOW_STEP = make_record("step", "native, bfloat16 on cpu, 2 threads", "bfloat16", 2.8)
SLOW_LOW_STEP = make_record("step", "torch (eager), bfloat16 on cpu", "bfloat16", 29.0)
PEER = make_record("step", "continual-inference 1.2.4", "float32", 79.0, peer="continual-inference")
RECORDS = [CLIP, FAST_CLIP, STEP, LOW_STEP, SLOW_LOW_STEP, PEER]


def test_the_slowest_prediction_is_the_first_row() -> None:
    assert choose_rows(RECORDS) == [CLIP, PEER, FAST_CLIP, STEP, LOW_STEP]


def test_only_the_smallest_batch_is_shown() -> None:
    large = dataclasses.replace(STEP, batch=64)
    assert choose_rows([CLIP, STEP, large]) == [CLIP, STEP]


def test_steps_of_a_device_without_float32_are_shown() -> None:
    assert choose_rows([LOW_STEP, SLOW_LOW_STEP]) == [SLOW_LOW_STEP, LOW_STEP]


def test_points_show_their_value_and_rows_a_name_without_versions() -> None:
    figure = _draw(RECORDS, "A processor")
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "clip, torch, float32",
        "step, continual-inference, float32",
        "clip, openvino, float32",
        "step, native, float32",
        "step, native, bfloat16",
    ]
    heading, *values = [text.get_text() for text in axis.texts]
    assert heading == "x3d_m · 76.0 % Kinetics-400 top-1 · MACs: clip 4.73 G, step 0.298 G"
    assert values == [
        "404 ms",
        "79.0 ms · 5.1x",
        "73.0 ms · 5.5x",
        "4.7 ms · 86.0x",
        "2.8 ms · 144.3x",
    ]


def test_values_stay_inside_the_picture() -> None:
    figure = _draw(RECORDS, "A processor")
    figure.draw_without_rendering()
    for text in figure.axes[0].texts:
        assert text.get_window_extent().x1 <= figure.bbox.x1
