"""Routes of events, which rules made of labels, read from the outbox."""

import re
from datetime import datetime
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, HTTPException, Path, Query, Response
from fastapi.responses import FileResponse
from pydantic import AwareDatetime, BaseModel, BeforeValidator

from co3d.engine.events import Event, EventLog
from co3d.engine.events.event import EndCause
from co3d.errors import Co3dError
from co3d.serving.event_stream import MEDIA_TYPE, EventStream
from co3d.serving.faults import document
from co3d.serving.routes.access import ServiceOf, Viewer
from co3d.serving.service import Service

router = APIRouter(prefix="/v1/events", tags=["events"])
Id = Annotated[str, Path(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
StreamKey = Annotated[str | None, Query(min_length=1, max_length=64, description="A stream's id.")]
DATE = re.compile(r"\d{4}-\d\d-\d\d[Tt ]")


def _require_date(text: Any) -> Any:
    """Refuse bare numbers, which Pydantic would take for seconds."""
    if isinstance(text, str) and not DATE.match(text):
        raise ValueError("expected ISO 8601, 2026-01-31T12:00:00Z for example")
    return text


Moment = Annotated[
    AwareDatetime | None,
    BeforeValidator(_require_date),
    Query(description="ISO 8601, with its offset from UTC."),
]
MOST_NUMBER = 2**62
MOST_EVENTS = 500
CLIP_TYPE = "video/x-matroska"


class EventInfo(BaseModel):
    """An event in its present state; see `co3d.engine.events.Event`.

    Attributes:
        picture, clip: their URLs; null if there is none.
    """

    id: str
    camera: str
    rule: str
    label: str
    start_pts_seconds: float
    latest_pts_seconds: float
    end_pts_seconds: float | None
    started_at: str | None
    latest_at: str | None
    ended_at: str | None
    peak: float
    mean: float
    predictions: int
    cause: EndCause | None
    picture: str | None
    clip: str | None


def _find_log(service: Service) -> EventLog:
    if service.events is None:
        raise HTTPException(404, "this server keeps no events; see docs/serving.md")
    return service.events


def _find_camera(service: Service, key: str | None) -> str | None:
    """A camera's name by its stream's id; the stream may have ended since."""
    if key is None:
        return None
    try:
        return service.streams.find(key).camera.name
    except Co3dError:
        return key


def _describe(event: Event) -> EventInfo:
    values: dict[str, Any] = event.as_dict()
    for kind in ("picture", "clip"):
        if values[kind] is not None:
            values[kind] = f"/v1/events/{event.id}/{kind}"
    return EventInfo(**values)


@router.get("", operation_id="list_events", responses=document(404, 422))
def list_events(
    service: ServiceOf,
    _caller: Viewer,
    stream: StreamKey = None,
    rule: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
    since: Moment = None,
    until: Moment = None,
    is_open: Annotated[
        bool | None, Query(description="Only open events, or only ended ones.")
    ] = None,
    after: Annotated[
        str | None, Query(max_length=64, description="The last id of the previous page.")
    ] = None,
    order: Literal["newest", "oldest"] = "newest",
    limit: Annotated[int, Query(ge=1, le=MOST_EVENTS)] = 100,
) -> list[EventInfo]:
    """Events in their present state."""
    found = _find_log(service).list_events(
        camera=_find_camera(service, stream),
        rule=rule,
        since_seconds=None if since is None else _read_moment(since),
        until_seconds=None if until is None else _read_moment(until),
        is_open=is_open,
        after=after,
        newest_first=order == "newest",
        limit=limit,
    )
    return [_describe(event) for event in found]


def _read_moment(moment: datetime) -> float:
    try:
        return moment.timestamp()
    except (OverflowError, ValueError, OSError) as error:
        raise HTTPException(422, "a moment is out of range") from error


@router.get(
    "/stream",
    operation_id="follow_events",
    response_class=Response,
    responses={
        200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}},
        **document(404, 422),
    },
)
def follow_events(
    service: ServiceOf,
    _caller: Viewer,
    stream: StreamKey = None,
    after: Annotated[
        int | None, Query(ge=0, le=MOST_NUMBER, description="The number of the last record.")
    ] = None,
    last_event_id: Annotated[str | None, Header(max_length=20)] = None,
) -> EventStream:
    """Follow records as Server-Sent Events, from now on or after `Last-Event-ID`."""
    log, counters = _find_log(service), service.counters
    if counters.subscribers >= service.settings.limits.subscribers:
        raise HTTPException(503, "too many clients", {"Retry-After": "5"})
    if last_event_id is not None:
        if not last_event_id.isdecimal() or int(last_event_id) > MOST_NUMBER:
            raise HTTPException(422, "Last-Event-ID: expected the number of a record")
        after = int(last_event_id)
    return EventStream(
        service, log, log.latest_number if after is None else after, _find_camera(service, stream)
    )


@router.get("/{event_id}", operation_id="read_event", responses=document(404, 422))
def read_event(service: ServiceOf, _caller: Viewer, event_id: Id) -> EventInfo:
    """One event."""
    return _describe(_find_event(service, event_id))


@router.get(
    "/{event_id}/picture",
    operation_id="read_event_picture",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
        **document(404, 422),
    },
)
def read_event_picture(service: ServiceOf, _caller: Viewer, event_id: Id) -> FileResponse:
    """The picture of an event's first moment."""
    path = _find_media(service, _find_event(service, event_id).picture)
    return FileResponse(path, media_type="image/jpeg")


@router.get(
    "/{event_id}/clip",
    operation_id="read_event_clip",
    response_class=Response,
    responses={
        200: {"content": {CLIP_TYPE: {"schema": {"type": "string", "format": "binary"}}}},
        206: {"description": "A part, as `Range` asked for."},
        416: {"description": "No such part."},
        **document(404, 422),
    },
)
def read_event_clip(service: ServiceOf, _caller: Viewer, event_id: Id) -> FileResponse:
    """The clip around an event, as the camera encoded it."""
    path = _find_media(service, _find_event(service, event_id).clip)
    return FileResponse(path, media_type=CLIP_TYPE)


def _find_event(service: Service, event_id: str) -> Event:
    event = _find_log(service).get_event(event_id)
    if event is None:
        raise HTTPException(404, "no event has this id")
    return event


def _find_media(service: Service, file_name: str | None) -> FilePath:
    path = None if file_name is None else _find_log(service).find_media(file_name)
    if path is None:
        raise HTTPException(404, "the event has none, or it is not kept any more")
    return path
