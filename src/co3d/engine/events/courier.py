"""Delivers the records of an outbox to one output, in order, with retries."""

import threading
from collections.abc import Collection
from dataclasses import dataclass

from co3d.engine.events.event import Record
from co3d.engine.events.outbox import NoticeListener, Outbox
from co3d.engine.events.outputs.output import (
    Delivery,
    FailedDeliveryError,
    Output,
    RefusedDeliveryError,
)
from co3d.errors import OutputError
from co3d.video.back_off import retry_delays

POLL_SECONDS = 1.0
RECORDS_PER_READ = 100


@dataclass(frozen=True)
class RecordFilter:
    """Which records an output gets; None for all.

    Attributes:
        cameras, rules, kinds: names.
    """

    cameras: Collection[str] | None = None
    rules: Collection[str] | None = None
    kinds: Collection[str] | None = None

    def matches(self, record: Record) -> bool:
        """Whether it gets a record."""
        event = record.event
        return all(
            wanted is None or value in wanted
            for value, wanted in (
                (event.camera, self.cameras),
                (event.rule, self.rules),
                (record.kind, self.kinds),
            )
        )


class Courier:
    """Delivers to one output, in its own thread.

    A failed delivery is repeated (after `retry_delays`, or the delay that the receiver asks for)
    before the next record is delivered. Records therefore arrive in order and at least once: if the
    process is killed between a delivery and the next commit of the outbox, the record is delivered
    again.

    Args:
        name: the output's name in the outbox.
        output: the output, which is closed with this. outbox: holds the records. wanted: which of
            them to deliver.
        on_notice: called when the output fails, and when it works again.
    """

    def __init__(
        self,
        name: str,
        output: Output,
        outbox: Outbox,
        wanted: RecordFilter,
        *,
        on_notice: NoticeListener = lambda _: None,
    ) -> None:
        self.name = name
        self._output, self._outbox, self._filter = output, outbox, wanted
        self._on_notice = on_notice
        self._stopping = threading.Event()
        self._is_failing = False
        self._thread = threading.Thread(
            target=self._run, name=f"co3d delivers to {name}", daemon=True
        )
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether all committed records are delivered, or the output is failing."""
        number = self._outbox.read_cursor(self.name)
        return self._is_failing or number >= self._outbox.health().latest_number

    def request_stop(self) -> None:
        """Ask the thread to end; records that are not delivered wait for the next start."""
        self._stopping.set()
        self._outbox.wake()

    def close(self, timeout_seconds: float) -> None:
        """End the thread, and wait for it at most this long; one that hangs is abandoned."""
        self.request_stop()
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        try:
            self._deliver_all()
        finally:
            self._output.close()

    def _deliver_all(self) -> None:
        number = self._outbox.read_cursor(self.name)
        while not self._stopping.is_set():
            try:
                records = self._outbox.log.read_records(number, RECORDS_PER_READ)
            except OutputError as error:
                self._notify_failure(str(error))
                self._stopping.wait(POLL_SECONDS)
                continue
            for record in records:
                if not self._handle(record):
                    return
                number = record.number
            if not records:
                self._outbox.wait_for_records(number, POLL_SECONDS)

    def _handle(self, record: Record) -> bool:
        """Deliver a record or skip it; returns False if told to stop before."""
        if not self._filter.matches(record):
            self._outbox.move_cursor(self.name, record.number)
            return True
        for tries, delay_seconds in enumerate(retry_delays(), start=1):
            if self._stopping.is_set():
                break
            try:
                self._output.deliver(Delivery(record, self._outbox.folder), self._stopping)
            except RefusedDeliveryError as error:
                return self._skip(record, str(error))
            except FailedDeliveryError as error:
                if self._stopping.is_set():
                    break
                if self._output.most_tries is not None and tries >= self._output.most_tries:
                    return self._skip(record, f"{error}; it was tried {tries} times")
                self._notify_failure(str(error))
                self._stopping.wait(max(delay_seconds, error.after_seconds))
            else:
                self._outbox.move_cursor(self.name, record.number, delivered=1)
                self._notify_success()
                return True
        return False

    def _skip(self, record: Record, reason: str) -> bool:
        self._outbox.move_cursor(self.name, record.number, refused=1)
        self._on_notice(
            f"the output {self.name} does not take record {record.number} of event "
            f"{record.event.id}, which is left: {reason}"
        )
        return True

    def _notify_failure(self, reason: str) -> None:
        if not self._is_failing:
            self._is_failing = True
            self._on_notice(f"the output {self.name} fails: {reason}; it is tried again")

    def _notify_success(self) -> None:
        if self._is_failing:
            self._is_failing = False
            self._on_notice(f"the output {self.name} works again")
