"""WebSockets and WebRTC: a visitor's own video, and the feed of all streams."""

import asyncio
import json
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Query, WebSocket
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from co3d.engine import Prediction, SourceChanged
from co3d.engine.results import ResultItem
from co3d.errors import Co3dError
from co3d.serving.faults import document
from co3d.serving.live_session import LiveSession
from co3d.serving.messages import describe_item
from co3d.serving.outgoing import Outgoing, StuckClientError, wait_for_first
from co3d.serving.routes.access import TOO_LITTLE, CallerOf, ServiceOf, Viewer
from co3d.serving.streams import make_id
from co3d.serving.tokens import Role

router = APIRouter(tags=["live"])
TRY_LATER = 1013
PICTURES_WAITING = 4
LENGTH_BYTES = 4


class Offer(BaseModel):
    """An offer of WebRTC with one track of video, and a data channel for predictions."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"type": "offer", "sdp": "v=0\r\n…"}]},
    )
    type: Literal["offer"]
    sdp: Annotated[str, Field(min_length=1, max_length=30_000)]


class Answer(BaseModel):
    """The answer to an offer."""

    type: Literal["answer"]
    sdp: str


@router.post("/v1/live/offer", operation_id="offer_video", responses=document(422, 502, 503))
async def offer_video(service: ServiceOf, _caller: Viewer, offer: Offer) -> Answer:
    """Label a visitor's own video over WebRTC; predictions are sent over the data channel.

    The client sends `alive` on it each second while it sends no video, and `bye` at the end.
    """
    sdp = await service.rtc.accept(offer.sdp, service.settings.limits.session_seconds)
    return Answer(type="answer", sdp=sdp)


@router.websocket("/v1/live")
async def label_live(socket: WebSocket, service: ServiceOf, caller: CallerOf) -> None:
    """Label a visitor's own video; see docs/serving.md for the messages."""
    await socket.accept()
    if caller.role < Role.VIEWER:
        await socket.close(TOO_LITTLE, "give a token")
        return
    await LiveSession(socket, service).run()


@router.websocket("/v1/feed")
async def feed(
    socket: WebSocket,
    service: ServiceOf,
    caller: CallerOf,
    stream: Annotated[list[str] | None, Query(max_length=256)] = None,
    width: Annotated[int | None, Query(ge=16, le=1920)] = None,
) -> None:
    """Send predictions and states of some streams, or of all, and pictures if a width is given."""
    await socket.accept()
    if caller.role < Role.VIEWER:
        await socket.close(TOO_LITTLE, "give a token")
        return
    counters, limits = service.counters, service.settings.limits
    if counters.subscribers >= limits.subscribers:
        await socket.close(TRY_LATER, "too many clients; try again later")
        return
    capacity = limits.waiting_messages if width is None else PICTURES_WAITING
    outgoing = Outgoing[ResultItem](capacity, limits.stuck_seconds)
    loop, wanted = asyncio.get_running_loop(), None if stream is None else set(stream)

    def take(item: ResultItem) -> None:
        if wanted is None or make_id(item.track) in wanted:
            loop.call_soon_threadsafe(outgoing.put, item)

    async def send(item: ResultItem) -> None:
        message = describe_item(make_id(item.track), item)
        message["lost_messages"] = outgoing.lost
        if isinstance(item, SourceChanged):
            message["cause"] = await run_in_threadpool(_find_cause, service, item)
        if width is not None and isinstance(item, Prediction) and item.frame.image.size:
            jpeg = await run_in_threadpool(partial(_encode, service, item, width))
            if jpeg is not None:
                text = json.dumps(message).encode()
                await socket.send_bytes(len(text).to_bytes(LENGTH_BYTES, "big") + text + jpeg)
                return
        await socket.send_json(message)

    counters.subscribers += 1
    stop = await run_in_threadpool(service.streams.listen, take)
    tasks = {
        asyncio.create_task(outgoing.send_all(send)),
        asyncio.create_task(_wait_for_end(socket)),
    }
    try:
        error = await wait_for_first(tasks)
        counters.cut_clients += isinstance(error, StuckClientError)
    finally:
        stop()
        counters.subscribers -= 1
        counters.lost_messages += outgoing.lost


async def _wait_for_end(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


def _find_cause(service: ServiceOf, change: SourceChanged) -> str | None:
    try:
        entry = service.streams.find(make_id(change.track))
    except Co3dError:
        return None
    return None if change.state.cause is None else entry.clean(change.state.cause)


def _encode(service: ServiceOf, prediction: Prediction, width: int) -> bytes | None:
    try:
        entry = service.streams.find(make_id(prediction.track))
    except Co3dError:
        return None
    return entry.encode(prediction, width)
