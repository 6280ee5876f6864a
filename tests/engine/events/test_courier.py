"""Records are delivered in order and at least once, despite failures and crashes at any point."""

import shutil
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from co3d.engine.events import EventLog
from co3d.engine.events import courier as courier_module
from co3d.engine.events.courier import Courier, RecordFilter
from co3d.engine.events.outputs.output import FailedDeliveryError, RefusedDeliveryError
from support.event_samples import end, make_event, open_outbox


class Receiver:
    """An output that fails as configured, and stores the records that it accepted."""

    def __init__(self, *failures, most_tries=None) -> None:
        self.most_tries = most_tries
        self.failures = list(failures)
        self.taken: list[int] = []
        self.is_closed = False
        self.changed = threading.Condition()

    def check(self) -> None:
        pass

    def deliver(self, delivery, stopping) -> None:
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        with self.changed:
            self.taken.append(delivery.record.number)
            self.changed.notify_all()

    def close(self) -> None:
        self.is_closed = True

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.taken) >= count, 10), self.taken


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    monkeypatch.setattr(courier_module, "retry_delays", lambda: iter([0.001] * 1000))


@pytest.fixture
def outbox(tmp_path):
    with open_outbox(tmp_path / "events") as outbox:
        outbox.set_outputs(["one", "two"])
        yield outbox


def test_failed_deliveries_are_retried_without_delaying_other_outputs(outbox):
    said: list[str] = []
    slow = Receiver(*[FailedDeliveryError("it is away")] * 5)
    fast = Receiver()
    couriers = [
        Courier("one", slow, outbox, RecordFilter(), on_notice=said.append),
        Courier("two", fast, outbox, RecordFilter()),
    ]
    for number in range(4):
        outbox.append("start", make_event(start=float(number)))
    fast.wait_for(4)
    slow.wait_for(4)
    assert slow.taken == fast.taken == [1, 2, 3, 4]
    for courier in couriers:
        courier.close(5)
    assert slow.is_closed
    assert said == [
        "the output one fails: it is away; it is tried again", "the output one works again"
    ]  # fmt: skip
    outbox.flush(10)
    assert [cursor.delivered for cursor in outbox.log.list_cursors()] == [4, 4]


def test_refused_records_are_skipped_and_counted(outbox):
    said: list[str] = []
    receiver = Receiver(RefusedDeliveryError("too long"), *[FailedDeliveryError("no")] * 3)
    receiver.most_tries = 3
    courier = Courier("one", receiver, outbox, RecordFilter(), on_notice=said.append)
    for number in range(3):
        outbox.append("start", make_event(start=float(number)))
    receiver.wait_for(1)
    courier.close(5)
    outbox.flush(10)
    cursor = outbox.log.list_cursors()[0]
    assert (receiver.taken, cursor.delivered, cursor.refused) == ([3], 1, 2)
    assert "does not take record 1" in said[0]
    assert any("no; it was tried 3 times" in one for one in said)


def test_outputs_get_the_records_of_their_filter(outbox):
    receiver = Receiver()
    wanted = RecordFilter(cameras=["door"], rules=["falls"], kinds=["start", "end"])
    courier = Courier("one", receiver, outbox, wanted)
    for camera, rule, kind in (
        ("yard", "falls", "start"), ("door", "runs", "start"),
        ("door", "falls", "update"), ("door", "falls", "start"),
    ):  # fmt: skip
        outbox.append(kind, make_event(camera, rule))
    receiver.wait_for(1)
    courier.close(5)
    assert receiver.taken == [4]
    assert outbox.read_cursor("one") == 4


STEPS = st.lists(st.sampled_from(["append", "commit", "deliver", "settle", "crash"]), max_size=40)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_a_crash_at_any_point_loses_no_committed_record(steps):
    """A copy of the files at each moment stands for a process that is killed at that moment."""
    with TemporaryDirectory() as name:
        folder, runs = Path(name), 0
        outbox = open_outbox(folder / "0", commit_seconds=60.0)
        outbox.set_outputs(["one"])
        outbox.flush(10)
        committed: list[str] = []  # ids of events, in order
        waiting: list[str] = []
        taken: list[tuple[int, str]] = []  # by the receiver, whom no crash touches
        known: dict[int, str] = {}
        number = 0  # of the courier, in memory
        for step in steps:
            if step == "append":
                event = make_event()
                outbox.append("end", end(event))
                waiting.append(event.id)
            elif step == "commit":
                assert outbox.flush(10)
                committed += waiting
                waiting = []
            elif step == "deliver":
                for record in outbox.log.read_records(number, 1):
                    taken.append((record.number, record.event.id))
                    number = record.number
            elif step == "settle":
                outbox.move_cursor("one", number, delivered=1)
            elif step == "crash":
                runs += 1
                shutil.copytree(folder / str(runs - 1), folder / str(runs))
                outbox.close()  # the one that lives on does not matter any more
                outbox = open_outbox(folder / str(runs), commit_seconds=60.0)
                outbox.set_outputs(["one"])
                waiting = []
                number = outbox.read_cursor("one")
        assert outbox.flush(10)
        committed += waiting
        while records := outbox.log.read_records(number):
            taken += [(record.number, record.event.id) for record in records]
            number = records[-1].number
        outbox.close()
        with EventLog(folder / str(runs)) as log:
            assert [event.id for event in log.list_events(newest_first=False)] == committed
        seen: list[str] = []
        for place, event_id in taken:
            assert known.setdefault(place, event_id) == event_id, "a repeat has another id"
            if event_id not in seen:
                seen.append(event_id)
        assert seen == committed
