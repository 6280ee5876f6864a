import dataclasses

import pytest
import torch

from co3d.benchmark import ceilings as ceilings_module
from co3d.benchmark import timing
from co3d.benchmark.ceilings import CPU_SIZES, Ceilings, Sizes, open_ceilings, read_ceilings
from co3d.benchmark.timing import Latency, measure

CPU = torch.device("cpu")


def test_only_floating_point_precisions_have_ceilings(monkeypatch):
    monkeypatch.setattr(timing, "LEAST_DISCARDED_SECONDS", 0.0)
    monkeypatch.setattr(ceilings_module, "CPU_SIZES", Sizes((64, 128), 2**20))
    subjects = open_ceilings(iter(["bfloat16", "int8", "float32", "float32"]), 1, CPU)
    ceilings = read_ceilings(measure(subjects), CPU)
    assert ceilings.gmacs_per_second.keys() == {"float32", "bfloat16"}
    assert all(value > 0 for value in ceilings.gmacs_per_second.values())
    assert ceilings.copy_gb_per_second > 0


def test_ceilings_follow_from_the_median_of_the_faster_size():
    latencies = {
        "float32 product of 1024": dataclasses.replace(take(ms=10), p99_ms=15),
        "float32 product of 2048": take(ms=100),
        "copy": take(ms=50),
        "a network": take(ms=1),
    }
    ceilings = read_ceilings(latencies, CPU)
    assert ceilings.gmacs_per_second == {"float32": pytest.approx(1024**3 / 1e7)}
    assert ceilings.p99_ratio == {"float32": pytest.approx(1.5)}
    assert ceilings.copy_gb_per_second == pytest.approx(2 * CPU_SIZES.copy_bytes / 5e7)


def test_other_devices_use_their_own_sizes_and_are_synchronised(monkeypatch):
    waited = []
    monkeypatch.setattr(ceilings_module, "GPU_SIZES", Sizes((8, 16), 64))
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)
    device = torch.device("meta")
    subjects = open_ceilings(["float32"], 1, device)
    assert subjects.keys() == {"float32 product of 8", "float32 product of 16", "copy"}
    for subject in subjects.values():
        subject.call()
    assert waited == [device] * 3
    found = read_ceilings(dict.fromkeys(subjects, take(ms=1)), device)
    assert found.gmacs_per_second == {"float32": pytest.approx(16**3 / 1e6)}
    assert found.copy_gb_per_second == pytest.approx(2 * 64 / 1e6)


def test_ceilings_predict_times():
    ceilings = Ceilings({"float32": 20.0}, {"float32": 1.2}, 10.0)
    assert ceilings.product_ms(40e9, "float32") == pytest.approx(2000)
    assert ceilings.product_ms(40e9, "float64") is None
    assert ceilings.copy_ms(5e9) == pytest.approx(500)


def take(ms: float) -> Latency:
    """A latency of this median; the rest is of no account."""
    return Latency(1, 1, ms, 0, 0, 0, 0, 0, 0)
