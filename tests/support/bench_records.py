"""A record of a benchmark, of which tests make others."""

from co3d.benchmark.records import Record
from co3d.benchmark.timing import Latency


def make_latency(median_ms: float) -> Latency:
    return Latency(100, 10, median_ms, median_ms * 2, median_ms * 3, median_ms, 0.5, 50.0, 1.5)


CLIP = Record(
    model="x3d_m",
    what="clip",
    peer=None,
    backend="torch (eager) 2.13",
    precision="float32",
    batch=1,
    threads=2,
    rate="dense",
    size_px=224,
    clip_frames=16,
    parameters=3_794_322,
    macs_per_prediction=4_732_000_000,
    frames_per_prediction=1,
    state_bytes=0,
    latency=make_latency(400.0),
    convert_seconds=None,
    open_seconds=0.0,
    speedups={"continual-inference": 0.375},
    times_the_product=3.0,
    times_the_copy=160.0,
    peak_bytes=None,
    published_accuracy={"Kinetics-400 top-1, 30 views": 76.0},
)
