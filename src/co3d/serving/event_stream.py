"""Server-Sent Events: records of the outbox, starting after a given number."""

import asyncio
import json
from collections.abc import AsyncIterator

from anyio import fail_after
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from co3d.engine.events import EventLog, Record
from co3d.errors import OutputError
from co3d.serving.service import Service

PING_SECONDS = 15.0
LOOK_SECONDS = 0.25
MEDIA_TYPE = "text/event-stream"


class EventStream(Response):
    """Sends records as they are committed, starting after a given number, until the client leaves.

    A slow client loses nothing, since records stay in the outbox. A client that takes nothing for
    ten seconds is disconnected, and can resume from the last number that it received.

    Args:
        service: whose counters are updated. log: of the events. after: the last number that the
            client has. camera: only events of it; None for all.
    """

    media_type = MEDIA_TYPE

    def __init__(self, service: Service, log: EventLog, after: int, camera: str | None) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._service, self._log, self._after, self._camera = service, log, after, camera

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        counters, limits = self._service.counters, self._service.settings.limits
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        gone = asyncio.create_task(_wait_for_end(receive))
        counters.subscribers += 1
        try:
            async for text in self._write(gone):
                body = {"type": "http.response.body", "body": text, "more_body": True}
                with fail_after(limits.stuck_seconds):
                    await send(body)
            await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            counters.cut_clients += 1
        except OutputError:
            pass  # the client reconnects, and gets the error then
        finally:
            counters.subscribers -= 1
            gone.cancel()

    async def _write(self, gone: "asyncio.Task[None]") -> AsyncIterator[bytes]:
        yield b"retry: 2000\n\n"
        quiet_seconds = 0.0
        while not (gone.done() or self._service.is_ending):
            records = await run_in_threadpool(self._log.read_records, self._after)
            for record in records:
                self._after = record.number
                if self._camera in (None, record.event.camera):
                    yield write_record(record)
            quiet_seconds = 0.0 if records else quiet_seconds + LOOK_SECONDS
            if quiet_seconds >= PING_SECONDS:
                quiet_seconds = 0.0
                yield b": still here\n\n"
            if not records:
                await asyncio.wait({gone}, timeout=LOOK_SECONDS)


def write_record(record: Record) -> bytes:
    """A record as a Server-Sent Events message whose id is its number."""
    text = json.dumps(record.as_dict())
    return f"id: {record.number}\nevent: {record.kind}\ndata: {text}\n\n".encode()


async def _wait_for_end(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
