"""The cost of steps while other programs use the machine, with a fake clock."""

from pathlib import Path

import pytest

from co3d.engine import thread_clock
from co3d.engine.admission import Admission, StepCost
from co3d.engine.thread_clock import ThreadClock
from co3d.errors import EngineFullError


class FakeTime:
    """Fakes a thread's times, and Linux's file of how long the thread waited for a core."""

    def __init__(self, statistics: Path) -> None:
        self._statistics = statistics
        self._processor = self._elapsed = 100.0
        self._waited_ns = 7_000_000_000
        self.spend()

    def spend(self, *, computing: float = 0.0, locked: float = 0.0, queued: float = 0.0) -> None:
        """Let seconds pass: on a core, waiting for a lock, waiting for a core."""
        self._processor += computing
        self._elapsed += computing + locked + queued
        self._waited_ns += round(queued * 1e9)
        self._statistics.write_text(f"{self._processor * 1e9:.0f} {self._waited_ns} 12\n")

    def thread_time(self) -> float:
        return self._processor

    def perf_counter(self) -> float:
        return self._elapsed


@pytest.fixture
def statistics(tmp_path) -> Path:
    return tmp_path / "schedstat"


@pytest.fixture
def fake(statistics, monkeypatch) -> FakeTime:
    fake = FakeTime(statistics)
    monkeypatch.setattr(thread_clock, "time", fake)
    return fake


def test_waiting_for_a_core_is_not_elapsed(fake, statistics):
    with ThreadClock(str(statistics)) as clock:
        fake.spend(computing=5)
        clock.start()
        fake.spend(computing=0.002, locked=0.001, queued=0.03)
        assert clock.stop() == pytest.approx((0.002, 0.003))


def test_without_the_kernels_statistics_all_waiting_is_elapsed(fake, tmp_path):
    with ThreadClock(str(tmp_path / "none")) as clock:
        fake.spend(computing=0.002, queued=0.03)
        assert clock.stop() == pytest.approx((0.002, 0.032))


def test_a_gil_holder_that_waits_for_a_core_costs_no_more_than_the_gil(fake, statistics):
    cost = StepCost(most_slowdown=2)
    admission = Admission(cost, capacity=2, load_limit=0.8)
    with ThreadClock(str(statistics)) as clock:
        for _ in range(100):  # at load 22 on two cores
            clock.start()
            fake.spend(computing=0.005, queued=0.05, locked=0.115)
            cost.add(*clock.stop())
    assert cost.seconds == pytest.approx(0.01)  # as though all of it held the lock
    for number in range(20):  # 8 a second, 10 ms each: 0.04 of two workers
        admission.reserve(f"visitor {number}", 8)
    with pytest.raises(EngineFullError, match=r"a step costs 10\.0 ms"):
        admission.reserve("one more", 8)


def test_on_a_gpu_the_whole_time_of_a_step_counts(fake, statistics):
    cost = StepCost()
    with ThreadClock(str(statistics)) as clock:
        clock.start()
        fake.spend(computing=0.001, locked=0.009)  # waits for the device
        cost.add(*clock.stop())
    assert cost.seconds == pytest.approx(0.01)


def test_load_of_other_programs_does_not_change_admission(fake, statistics):
    cost = StepCost()
    admission = Admission(cost, capacity=2, load_limit=0.8)
    with ThreadClock(str(statistics)) as clock:
        for _ in range(100):
            clock.start()
            fake.spend(computing=0.0025, queued=0.0125)  # others take five sixths
            cost.add(*clock.stop())
    for number in range(64):  # 4 a second, 2.5 ms each: 0.005 of two workers
        admission.reserve(f"camera {number}", 4)
    assert admission.load == pytest.approx(0.32)
    with pytest.raises(EngineFullError):
        admission.reserve("one more", 800)
