import dataclasses

import pytest

from co3d.benchmark import ceilings as ceilings_module
from co3d.benchmark import timing
from co3d.benchmark.ceilings import COPY_BYTES, Ceilings, open_ceilings, read_ceilings
from co3d.benchmark.timing import Latency, measure


def test_ceilings_are_those_of_the_precisions_that_are_floats(monkeypatch):
    monkeypatch.setattr(timing, "LEAST_DISCARDED_SECONDS", 0.0)
    monkeypatch.setattr(ceilings_module, "MATRIX_SIDES", (64, 128))
    monkeypatch.setattr(ceilings_module, "COPY_BYTES", 2**20)
    subjects = open_ceilings(iter(["bfloat16", "int8", "float32", "float32"]), samples=1)
    ceilings = read_ceilings(measure(subjects))
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
    ceilings = read_ceilings(latencies)
    assert ceilings.gmacs_per_second == {"float32": pytest.approx(1024**3 / 1e7)}
    assert ceilings.p99_ratio == {"float32": pytest.approx(1.5)}
    assert ceilings.copy_gb_per_second == pytest.approx(2 * COPY_BYTES / 5e7)


def test_ceilings_tell_times():
    ceilings = Ceilings({"float32": 20.0}, {"float32": 1.2}, 10.0)
    assert ceilings.product_ms(40e9, "float32") == pytest.approx(2000)
    assert ceilings.product_ms(40e9, "float64") is None
    assert ceilings.copy_ms(5e9) == pytest.approx(500)


def take(ms: float) -> Latency:
    """A latency of this median; the rest is of no account."""
    return Latency(1, 1, ms, 0, 0, 0, 0, 0, 0)
