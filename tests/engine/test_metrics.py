"""Metrics of a track: over its newest predictions, in little memory."""

import tracemalloc
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from co3d.engine.metrics import RECENT_STEPS, TrackCounts


def add(counts: TrackCounts, queue_ms: float, latency_ms: float, at_seconds: float) -> None:
    made = SimpleNamespace(
        queue_ms=queue_ms, latency_ms=latency_ms, lag_ms=queue_ms, gap_seconds=0.0
    )
    counts.add(cast(Any, made), at_seconds)


@pytest.mark.parametrize("made", [0, 1, 2, RECENT_STEPS - 1, RECENT_STEPS, 2 * RECENT_STEPS + 345])
def test_percentiles_and_rate_are_of_the_newest_thousand(made):
    times_ms = np.random.default_rng(0).uniform(1, 50, (made, 2))
    counts = TrackCounts()
    for number, (queue_ms, latency_ms) in enumerate(times_ms.tolist()):
        add(counts, queue_ms, latency_ms, 100 + number / 8)
    metrics = counts.read(made, 3)
    newest = times_ms[-RECENT_STEPS:]
    assert (metrics.predictions, metrics.dropped_frames) == (made, 3)
    assert metrics.rate_hz == pytest.approx(8.0 if made > 1 else 0.0)
    for found, column in (
        (metrics.queue, newest[:, 0]),
        (metrics.step, newest[:, 1]),
        (metrics.latency, newest.sum(1)),
    ):
        expected = np.percentile(column, (50, 95, 99)) if made else np.zeros(3)
        assert (found.p50_ms, found.p95_ms, found.p99_ms) == pytest.approx(tuple(expected))


def test_they_take_little_memory():
    tracemalloc.start()
    try:
        counts = TrackCounts()
        for number in range(3 * RECENT_STEPS):
            add(counts, number * 1.5, number * 2.5, number / 7)
        taken_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken_bytes < 40_000
