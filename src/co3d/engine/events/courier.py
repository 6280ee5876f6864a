"""Brings the records of an outbox to one output, in order, until each is taken."""

import threading
from collections.abc import Collection
from dataclasses import dataclass

from co3d.engine.events.event import Record
from co3d.engine.events.outbox import Noticed, Outbox
from co3d.engine.events.outputs.output import (
    Delivery,
    FailedDeliveryError,
    Output,
    RefusedDeliveryError,
)
from co3d.errors import OutputError
from co3d.video.back_off import retry_delays

LOOK_SECONDS = 1.0
AT_ONCE = 100


@dataclass(frozen=True)
class Wanted:
    """Which records an output gets; None for all.

    Attributes:
        cameras, rules, kinds: names.
    """

    cameras: Collection[str] | None = None
    rules: Collection[str] | None = None
    kinds: Collection[str] | None = None

    def has(self, record: Record) -> bool:
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
    """Delivers to one output, in a thread of its own.

    What fails is tried again (see `retry_delays`; or after as long as the receiver says), while
    what comes later waits. So each camera's records come
    in order, and each at least once: where the process is killed between a delivery and the next
    commit of the outbox, the same record comes again.

    Args:
        name: of the output; the outbox knows it.
        output: closed by `close`. outbox: of the records. wanted: which of them.
        on_notice: told when it fails, and when it works again.
    """

    def __init__(
        self,
        name: str,
        output: Output,
        outbox: Outbox,
        wanted: Wanted,
        *,
        on_notice: Noticed = lambda _: None,
    ) -> None:
        self.name = name
        self._output, self._outbox, self._wanted = output, outbox, wanted
        self._on_notice = on_notice
        self._stopping = threading.Event()
        self._is_failing = False
        self._thread = threading.Thread(
            target=self._run, name=f"co3d delivers to {name}", daemon=True
        )
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether all that is committed is delivered, or it fails."""
        number = self._outbox.read_cursor(self.name)
        return self._is_failing or number >= self._outbox.health().latest_number

    def request_stop(self) -> None:
        """End soon; what is not delivered waits for the next start."""
        self._stopping.set()
        self._outbox.wake()

    def close(self, timeout_seconds: float) -> None:
        """End, and wait for that so long at most; a receiver that hangs is left behind."""
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
                records = self._outbox.log.read_records(number, AT_ONCE)
            except OutputError as error:
                self._tell_failure(str(error))
                self._stopping.wait(LOOK_SECONDS)
                continue
            for record in records:
                if not self._handle(record):
                    return
                number = record.number
            if not records:
                self._outbox.wait_for_records(number, LOOK_SECONDS)

    def _handle(self, record: Record) -> bool:
        """Deliver a record, or leave it; False when told to stop before."""
        if not self._wanted.has(record):
            self._outbox.move_cursor(self.name, record.number)
            return True
        for tries, delay_seconds in enumerate(retry_delays(), start=1):
            if self._stopping.is_set():
                break
            try:
                self._output.deliver(Delivery(record, self._outbox.folder), self._stopping)
            except RefusedDeliveryError as error:
                return self._leave(record, str(error))
            except FailedDeliveryError as error:
                if self._stopping.is_set():
                    break
                if self._output.most_tries is not None and tries >= self._output.most_tries:
                    return self._leave(record, f"{error}; it was tried {tries} times")
                self._tell_failure(str(error))
                self._stopping.wait(max(delay_seconds, error.after_seconds))
            else:
                self._outbox.move_cursor(self.name, record.number, delivered=1)
                self._tell_success()
                return True
        return False

    def _leave(self, record: Record, reason: str) -> bool:
        self._outbox.move_cursor(self.name, record.number, refused=1)
        self._on_notice(
            f"the output {self.name} does not take record {record.number} of event "
            f"{record.event.id}, which is left: {reason}"
        )
        return True

    def _tell_failure(self, reason: str) -> None:
        if not self._is_failing:
            self._is_failing = True
            self._on_notice(f"the output {self.name} fails: {reason}; it is tried again")

    def _tell_success(self) -> None:
        if self._is_failing:
            self._is_failing = False
            self._on_notice(f"the output {self.name} works again")
