import pytest
import torch

from co3d.benchmark.timing import Subject, measure, percentile


class FakeClock:
    """A clock that only subjects move on."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.seconds

    def subject(self, name: str, *durations_ms: float, samples: int = 20, **options) -> Subject:
        """A subject whose calls take these times in turn, over and over."""
        count = 0

        def call() -> None:
            nonlocal count
            self.seconds += durations_ms[count % len(durations_ms)] / 1e3
            self.calls.append(name)
            count += 1

        return Subject(call, samples, **options)


def test_statistics_cover_the_timed_calls():
    clock = FakeClock()
    # Four calls that do not count, of 280 ms together, then ten that do.
    subject = clock.subject("a", *[70.0] * 4, *range(1, 11), samples=10)
    latency = measure({"a": subject}, clock=clock)["a"]
    assert (latency.samples, latency.bursts) == (10, 1)
    assert latency.median_ms == pytest.approx(5.5)
    assert latency.mean_ms == pytest.approx(5.5)
    assert latency.p95_ms == pytest.approx(9.55)
    assert latency.p99_ms == pytest.approx(9.91)
    assert latency.std_ms == pytest.approx(8.25**0.5)
    assert latency.throughput_mean == pytest.approx(10 / 0.055)
    assert latency.throughput_std == 0


def test_subjects_alternate_in_bursts():
    clock = FakeClock()
    subjects = {name: clock.subject(name, 32.0) for name in ("a", "b")}
    measure(subjects, clock=clock)
    assert clock.calls == (["a"] * 14 + ["b"] * 14) * 2


def test_fast_subjects_warm_up_before_timing():
    clock = FakeClock()
    # 2^-3 ms, so that sums are exact: 800 calls take the 100 ms that do not count.
    subject = clock.subject("a", *[0.125] * 800, *[0.0625] * 10, samples=10)
    assert measure({"a": subject}, clock=clock)["a"].median_ms == pytest.approx(0.0625)
    assert len(clock.calls) == 810


def test_subjects_with_enough_samples_are_skipped():
    clock = FakeClock()
    subjects = {
        "a": clock.subject("a", 32.0, samples=10),
        "b": clock.subject("b", 32.0, samples=30),
    }
    found = measure(subjects, clock=clock)
    assert found["a"].samples == 10
    assert found["b"].samples == 30
    assert clock.calls == ["a"] * 14 + ["b"] * 14 * 3


def test_slow_subjects_make_fewer_calls_a_burst():
    clock = FakeClock()
    found = measure({"a": clock.subject("a", 1500.0, samples=3)}, clock=clock)["a"]
    # One that does not count and two that do, twice.
    assert len(clock.calls) == 6
    assert (found.samples, found.bursts) == (4, 2)


def test_a_call_of_several_steps_counts_as_several_frames():
    clock = FakeClock()
    subject = clock.subject("a", 8.0, samples=10, steps=4, predictions=3)
    found = measure({"a": subject}, clock=clock)["a"]
    assert found.median_ms == pytest.approx(2)
    assert found.throughput_mean == pytest.approx(4 * 3 / 0.008)


def test_progress_counts_wanted_samples():
    clock = FakeClock()
    seen = []
    subjects = {name: clock.subject(name, 1.0, samples=15) for name in ("a", "b")}
    measure(subjects, on_burst=lambda done, total: seen.append((done, total)), clock=clock)
    assert seen == [(10, 30), (20, 30), (25, 30), (30, 30)]


def test_subjects_that_run_out_of_memory_are_dropped():
    clock, seen = FakeClock(), []

    def fail() -> None:
        raise torch.OutOfMemoryError

    subjects = {"a": Subject(fail, 20), "b": clock.subject("b", 32.0, samples=10)}
    latencies = measure(
        subjects, on_burst=lambda done, total: seen.append((done, total)), clock=clock
    )
    assert latencies.keys() == {"b"}
    assert seen == [(0, 10), (10, 10)]


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (50, 2.5), (100, 4)])
def test_percentiles_lie_between_neighbours(percent, expected):
    assert percentile([4, 1, 3, 2], percent) == pytest.approx(expected)
