"""A visitor's video over a WebSocket: pictures in, predictions out."""

import asyncio
import struct
import time
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from anyio import fail_after
from fastapi import WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from co3d.engine import Prediction, TrackEnded
from co3d.engine.mailbox import LIVE_SECONDS
from co3d.engine.results import ResultItem
from co3d.errors import Co3dError, EngineFullError
from co3d.serving.faults import RETRY_SECONDS, describe_fault
from co3d.serving.media.process import EncodedDecoding
from co3d.serving.messages import describe_item
from co3d.serving.outgoing import Outgoing, StuckClientError, wait_for_first
from co3d.serving.pictures import decode_jpeg
from co3d.serving.service import Service
from co3d.serving.throttle import Throttle
from co3d.serving.visits import Visit, open_visit, run_uncancelled

HEADER = struct.Struct(">d")
"""The header of each picture: its time in seconds."""

BAD_DATA, POLICY_VIOLATION, TOO_MANY, ENDING = 1007, 1008, 1013, 1001
START_SECONDS, GOODBYE_SECONDS = 10.0, 2.0
MAX_BAD_PICTURES = 10
ME = ""
MOST_WAITING = 32
"""The most messages of a visitor that wait for decoding; further ones stay in the socket."""

_Waiting = tuple[bytes, float] | None
"""A picture and its arrival on the monotonic clock; None for a reset."""

TakePicture = Callable[[np.ndarray | bytes, float | None], None]


class Start(BaseModel):
    """The first message of a visitor.

    Attributes:
        format: "jpeg", or the codec of encoded frames. rate_hz: frames per second for the network;
            None for its own rate.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["start"]
    format: Literal["jpeg", "vp8", "vp9", "h264"] = "jpeg"
    rate_hz: Annotated[float, Field(gt=0, le=60, allow_inf_nan=False)] | None = None


class Command(BaseModel):
    """A later message: "alive" while no picture is sent, "reset" before another video."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["alive", "reset"]


class Decoding(Protocol):
    """Turns a visitor's messages into pictures."""

    async def decode(self, data: bytes, take: TakePicture, *, is_wanted: bool) -> None:
        """Pass the picture to `take`, in another thread, if the data make one and it is wanted.

        Args:
            data: as the visitor sent them.
            take: gets the picture (a JPEG where the engine decodes it) and the CPU seconds that
                decoding took, if known.

        Raises:
            Co3dError: the picture is damaged, or `take` raised it.
        """
        ...

    async def close(self) -> None:
        """Free it."""
        ...


class JpegDecoding:
    """Pictures that are encoded independently, as JPEG.

    Args:
        max_pixels: of a picture. threads: that decode.
    """

    def __init__(self, max_pixels: int, threads: Executor) -> None:
        self._max_pixels, self._threads = max_pixels, threads

    async def decode(self, data: bytes, take: TakePicture, *, is_wanted: bool) -> None:
        """See `Decoding`."""

        def work() -> None:
            began = time.thread_time()
            picture = decode_jpeg(data, self._max_pixels)
            take(picture, time.thread_time() - began)

        if is_wanted:
            await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def close(self) -> None:
        """See `Decoding`."""


class LaterDecoding:
    """Independently encoded pictures that the engine's machine decodes."""

    async def decode(self, data: bytes, take: TakePicture, *, is_wanted: bool) -> None:
        """See `Decoding`."""
        if is_wanted:
            await asyncio.to_thread(take, data, None)

    async def close(self) -> None:
        """See `Decoding`."""


class EndedError(Exception):
    """The session is over.

    Args:
        code: for closing the WebSocket. message: the reason, for the client.
    """

    def __init__(self, code: int, message: dict[str, Any]) -> None:
        super().__init__(message.get("message", ""))
        self.code, self.message = code, message


class LiveSession:
    """One visitor.

    Args:
        socket: already accepted. service: the one that labels.
    """

    def __init__(self, socket: WebSocket, service: Service) -> None:
        self._socket, self._service, self._limits = socket, service, service.settings.limits
        self._loop = asyncio.get_running_loop()
        self._outgoing = Outgoing[dict[str, Any]](
            self._limits.waiting_messages, self._limits.stuck_seconds
        )
        rate = self._limits.pictures_per_second
        self._throttle = Throttle(rate, rate)
        self._bad_pictures = 0

    async def run(self) -> None:
        """Label the visitor's pictures until the visitor leaves or is disconnected."""
        visit: Visit | None = None
        decoding: Decoding | None = None
        try:
            start = await self._read_start()
            decoding = self._open_decoding(start)
            visit = await open_visit(self._service.visits, self._take, start.rate_hz)
            await self._run_tasks(visit, decoding)
        except EndedError as ended:
            await self._end(ended.code, ended.message)
        except EngineFullError as error:
            message = {"type": "error", **describe_fault(error), "retry_seconds": RETRY_SECONDS}
            await self._end(TOO_MANY, message)
        except Co3dError as error:
            await self._end(BAD_DATA, {"type": "error", **describe_fault(error)})
        except StuckClientError:
            self._service.counters.cut_clients += 1
        except WebSocketDisconnect:
            pass
        finally:
            self._service.counters.lost_messages += self._outgoing.lost
            if visit is not None:
                await run_uncancelled(visit.close)
            if decoding is not None:
                await asyncio.shield(decoding.close())

    async def _run_tasks(self, visit: Visit, decoding: Decoding) -> None:
        """Send, receive and decode until one of them ends."""
        self._outgoing.put({"type": "ready", "session": visit.name, "rate_hz": visit.rate_hz})
        waiting = asyncio.Queue["_Waiting"](MOST_WAITING)
        tasks = {
            asyncio.create_task(self._outgoing.send_all(self._socket.send_json)),
            asyncio.create_task(self._receive_all(waiting)),
            asyncio.create_task(self._decode_all(visit, decoding, waiting)),
        }
        error = await wait_for_first(tasks, self._limits.session_seconds)
        try:
            raise error or _end_politely("SessionOver", "the session is over; start again", ENDING)
        finally:
            del error  # breaks a reference cycle that would keep the visitor's pictures

    async def _read_start(self) -> Start:
        message = await self._receive(START_SECONDS)
        try:
            return Start.model_validate_json(message.get("text") or "")
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise _end_politely(
                "ValidationError", f"expected a start message first: {reason}", POLICY_VIOLATION
            ) from error

    def _open_decoding(self, start: Start) -> Decoding:
        if start.format == "jpeg":
            if self._service.decodes_later:
                return LaterDecoding()
            return JpegDecoding(self._limits.pixels, self._service.jpeg_threads)
        return EncodedDecoding(self._service.media, start.format)

    async def _receive_all(self, waiting: "asyncio.Queue[_Waiting]") -> None:
        """Queue pictures and resets for decoding."""
        while True:
            message = await self._receive(self._limits.idle_seconds)
            data = message.get("bytes")
            if data is not None:
                self._check_picture(data)
                self._service.counters.pictures += 1
                await waiting.put((data, time.monotonic()))
                continue
            try:
                command = Command.model_validate_json(message.get("text") or "")
            except ValidationError as error:
                raise _end_politely(
                    "ValidationError", "expected a picture, alive or reset", POLICY_VIOLATION
                ) from error
            if command.type == "reset":
                await waiting.put(None)

    async def _decode_all(
        self, visit: Visit, decoding: Decoding, waiting: "asyncio.Queue[_Waiting]"
    ) -> None:
        """Decode queued pictures; of those that waited too long only the newest is labelled."""
        while True:
            taken = await waiting.get()
            if taken is None:
                await run_in_threadpool(visit.reset)
                continue
            data, since_seconds = taken
            is_late = time.monotonic() - since_seconds > LIVE_SECONDS and not waiting.empty()
            self._service.counters.late_pictures += is_late
            await self._take_picture(visit, decoding, data, is_late=is_late)

    async def _receive(self, seconds: float) -> Any:
        try:
            with fail_after(seconds):
                message = await self._socket.receive()
        except TimeoutError as error:
            raise _end_politely("IdleError", f"nothing came for {seconds:g} s", ENDING) from error
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code") or 1005)
        return message

    def _check_picture(self, data: bytes) -> None:
        if len(data) <= HEADER.size:
            raise _end_politely(
                "ValidationError", f"got {len(data)} bytes, expected a picture", BAD_DATA
            )
        if not self._throttle.take(ME):
            most = self._limits.pictures_per_second
            raise _end_politely(
                "RateError", f"at most {most:g} pictures a second", POLICY_VIOLATION
            )

    async def _take_picture(
        self, visit: Visit, decoding: Decoding, data: bytes, *, is_late: bool
    ) -> None:
        (pts_seconds,) = HEADER.unpack_from(data)
        is_wanted = not is_late and visit.wants(pts_seconds)
        try:
            take = partial(visit.push, pts_seconds)
            await decoding.decode(data[HEADER.size :], take, is_wanted=is_wanted)
        except Co3dError as error:
            self._service.counters.refused_pictures += 1
            self._bad_pictures += 1
            if self._bad_pictures > MAX_BAD_PICTURES:
                raise
            self._outgoing.put({"type": "notice", **describe_fault(error)})

    def _take(self, item: ResultItem) -> None:
        """Receive a result; called in a thread of the engine."""

        def hand_on() -> None:
            if isinstance(item, Prediction):
                message = describe_item(item.track, item)
                message["lost_messages"] = self._outgoing.lost
                self._outgoing.put(message)
            elif isinstance(item, TrackEnded):
                if item.error is not None:
                    self._outgoing.put({"type": "error", **_describe(item.error)})
                self._outgoing.close()

        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(hand_on)

    async def _end(self, code: int, message: dict[str, Any]) -> None:
        """Send the reason and close, without waiting for a client that is gone or stuck."""
        try:
            with fail_after(GOODBYE_SECONDS):
                await self._socket.send_json(message)
                await self._socket.close(code)
        except (RuntimeError, WebSocketDisconnect, TimeoutError):
            pass


def _end_politely(kind: str, message: str, code: int) -> EndedError:
    return EndedError(code, {"type": "error", "error": kind, "message": message})


def _describe(error: Exception) -> dict[str, str]:
    if isinstance(error, Co3dError):
        return describe_fault(error)
    return {"error": "InternalError", "message": "the stream failed; start again"}
