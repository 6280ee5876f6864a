"""A visitor's video over a WebSocket: pictures in, predictions out."""

import asyncio
import struct
from functools import partial
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from fastapi import WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from co3d.engine import Prediction, TrackEnded
from co3d.engine.results import ResultItem
from co3d.errors import Co3dError, EngineFullError
from co3d.serving.faults import RETRY_SECONDS, describe_fault
from co3d.serving.media.process import EncodedDecoding
from co3d.serving.messages import describe_item
from co3d.serving.outgoing import Outgoing, StuckClientError, wait_for_first
from co3d.serving.pictures import decode_jpeg
from co3d.serving.service import Service
from co3d.serving.throttle import Throttle
from co3d.serving.visits import Visit

HEADER = struct.Struct(">d")
"""Before each picture: its time in seconds."""

BAD_DATA, POLICY_VIOLATION, TOO_MANY, ENDING = 1007, 1008, 1013, 1001
START_SECONDS = 10.0
MAX_BAD_PICTURES = 10
ME = ""


class Start(BaseModel):
    """The first message of a visitor.

    Attributes:
        format: "jpeg", or the codec of encoded frames. rate_hz: that the network is to see; None
            for its own.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["start"]
    format: Literal["jpeg", "vp8", "vp9", "h264"] = "jpeg"
    rate_hz: Annotated[float, Field(gt=0, le=60, allow_inf_nan=False)] | None = None


class Word(BaseModel):
    """A later message: "alive" while no picture comes, "reset" before another video."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["alive", "reset"]


class Decoding(Protocol):
    """From what a visitor sends to pictures."""

    async def decode(self, data: bytes, *, is_wanted: bool) -> np.ndarray | None:
        """The picture, if the data make one and it is wanted; a Co3dError where it is damaged."""
        ...

    async def close(self) -> None:
        """Free it."""
        ...


class JpegDecoding:
    """Pictures that stand alone."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels

    async def decode(self, data: bytes, *, is_wanted: bool) -> np.ndarray | None:
        """See `Decoding`."""
        if not is_wanted:
            return None
        return await run_in_threadpool(decode_jpeg, data, self._max_pixels)

    async def close(self) -> None:
        """See `Decoding`."""


class EndedError(Exception):
    """A session is over.

    Args:
        code: with which the WebSocket is closed. message: of why, for the client.
    """

    def __init__(self, code: int, message: dict[str, Any]) -> None:
        super().__init__(message.get("message", ""))
        self.code, self.message = code, message


class LiveSession:
    """One visitor.

    Args:
        socket: accepted. service: that labels.
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
        """Label what comes until the visitor leaves or must."""
        visit: Visit | None = None
        decoding: Decoding | None = None
        try:
            start = await self._read_start()
            decoding = self._open_decoding(start)
            visit = await run_in_threadpool(
                partial(self._service.visits.open, self._take, start.rate_hz)
            )
            await self._converse(visit, decoding)
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
                await asyncio.shield(run_in_threadpool(visit.close))
            if decoding is not None:
                await asyncio.shield(decoding.close())

    async def _converse(self, visit: Visit, decoding: Decoding) -> None:
        """Send and receive until one of both is over."""
        self._outgoing.put({"type": "ready", "session": visit.name, "rate_hz": visit.rate_hz})
        tasks = {
            asyncio.create_task(self._outgoing.send_all(self._socket.send_json)),
            asyncio.create_task(self._receive_all(visit, decoding)),
        }
        error = await wait_for_first(tasks, self._limits.session_seconds)
        try:
            raise error or _end_politely("SessionOver", "the session is over; start again", ENDING)
        finally:
            del error  # else it and this frame keep each other, and the visitor's pictures

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
            return JpegDecoding(self._limits.pixels)
        return EncodedDecoding(self._service.media, start.format)

    async def _receive_all(self, visit: Visit, decoding: Decoding) -> None:
        while True:
            message = await self._receive(self._limits.idle_seconds)
            data = message.get("bytes")
            if data is not None:
                await self._take_picture(visit, decoding, data)
                continue
            try:
                word = Word.model_validate_json(message.get("text") or "")
            except ValidationError as error:
                raise _end_politely(
                    "ValidationError", "expected a picture, alive or reset", POLICY_VIOLATION
                ) from error
            if word.type == "reset":
                await run_in_threadpool(visit.reset)

    async def _receive(self, seconds: float) -> Any:
        try:
            message = await asyncio.wait_for(self._socket.receive(), seconds)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise _end_politely("IdleError", f"nothing came for {seconds:g} s", ENDING) from error
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code") or 1005)
        return message

    async def _take_picture(self, visit: Visit, decoding: Decoding, data: bytes) -> None:
        if len(data) <= HEADER.size:
            raise _end_politely(
                "ValidationError", f"got {len(data)} bytes, expected a picture", BAD_DATA
            )
        if not self._throttle.take(ME):
            most = self._limits.pictures_per_second
            raise _end_politely(
                "RateError", f"at most {most:g} pictures a second", POLICY_VIOLATION
            )
        (pts_seconds,) = HEADER.unpack_from(data)
        counters = self._service.counters
        counters.pictures += 1
        is_wanted = visit.wants(pts_seconds)
        try:
            picture = await decoding.decode(data[HEADER.size :], is_wanted=is_wanted)
            if picture is not None:
                await run_in_threadpool(visit.push, picture, pts_seconds)
        except Co3dError as error:
            counters.refused_pictures += 1
            self._bad_pictures += 1
            if self._bad_pictures > MAX_BAD_PICTURES:
                raise
            self._outgoing.put({"type": "notice", **describe_fault(error)})

    def _take(self, item: ResultItem) -> None:
        """Of the engine, in a thread of its own."""

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
        """Say why, and close; whoever is gone or stuck is not waited for."""
        try:
            await asyncio.wait_for(self._socket.send_json(message), 1.0)
            await asyncio.wait_for(self._socket.close(code), 1.0)
        except (RuntimeError, WebSocketDisconnect, TimeoutError, asyncio.TimeoutError):
            pass


def _end_politely(kind: str, message: str, code: int) -> EndedError:
    return EndedError(code, {"type": "error", "error": kind, "message": message})


def _describe(error: Exception) -> dict[str, str]:
    if isinstance(error, Co3dError):
        return describe_fault(error)
    return {"error": "InternalError", "message": "the stream failed; start again"}
