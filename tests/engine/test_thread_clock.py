"""What steps cost on a machine that other programs use, on a fake clock."""

from pathlib import Path

import pytest

from co3d.engine import thread_clock
from co3d.engine.admission import Admission, StepCost
from co3d.engine.thread_clock import ThreadClock
from co3d.errors import EngineFullError


class FakeTime:
    """A thread's times, and the file in which Linux says how long it waited for a core."""

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


def test_without_the_kernels_word_all_waiting_is_elapsed(fake, tmp_path):
    with ThreadClock(str(tmp_path / "none")) as clock:
        fake.spend(computing=0.002, queued=0.03)
        assert clock.stop() == pytest.approx((0.002, 0.032))


def test_a_machine_that_others_use_has_as_much_room(fake, statistics):
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
