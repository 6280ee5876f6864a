"""Routes of cameras: list, read, add, change, remove; pictures, timelines, snapshots."""

import tempfile
import time
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from co3d.engine.camera import Camera
from co3d.engine.followed_camera import CameraStatus
from co3d.printable import format_time, make_printable
from co3d.runtime import Snapshot
from co3d.serving.faults import Fault, document
from co3d.serving.routes.access import Admin, Operator, ServiceOf, Viewer
from co3d.serving.streams import Entry
from co3d.serving.tokens import Role
from co3d.video import hide_password
from co3d.video.source_state import Phase

router = APIRouter(prefix="/v1/streams", tags=["streams"])
Key = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", examples=["door"])]
StreamName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Rate = Annotated[float, Field(gt=0, le=120, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
Priority = Annotated[int, Field(ge=-100, le=100)]
MAX_HOURS = 24
SNAPSHOT_TYPE = "application/octet-stream"
CONFLICTS = document(404, 409, 422)


class StreamSettings(BaseModel):
    """How a stream is labelled; omitted settings stay as they are."""

    model_config = ConfigDict(extra="forbid", strict=True)
    rate_hz: Rate | None = None
    priority: Priority | None = None
    threshold: Share | None = None
    smooth_seconds: Seconds | None = None


class NewStream(StreamSettings):
    """A source to label."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "gate", "source": "rtsp://user:secret@10.0.0.9/stream"}]
        }
    )
    name: StreamName
    source: Annotated[str, Field(min_length=1, max_length=2000)]
    tls: Literal["verify", "off"] = "verify"


class StreamChange(StreamSettings):
    """What to change of a stream."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"paused": True}]})
    paused: bool | None = None


class Counts(BaseModel):
    """Counts of a stream since it was opened."""

    pictures: int
    predictions: int
    dropped_frames: int
    gaps: int
    jumps_back: int
    size_changes: int
    rate_hz: float
    step_p95_ms: float
    latency_p95_ms: float
    lag_ms: float | None


class StreamInfo(BaseModel):
    """A stream.

    Attributes:
        id: of the stream in URLs. origin: the fleet file, or an operator.
        source: without its password; shown to operators only.
        state: of its source; "reading" for files. since, cause: of that state.
        restarted: it lost its state with a fleet's engine, and is filling its window again.
    """

    id: str
    name: str
    origin: Literal["configured", "added"]
    source: str | None
    state: Literal[Phase, "reading", "paused", "ended"]
    since: str | None
    cause: str | None
    rate_hz: float
    priority: int
    threshold: float
    smooth_seconds: float
    label: str | None
    probability: float | None
    counts: Counts | None
    restarted: bool = False


class Run(BaseModel):
    """A period with one label, ISO 8601."""

    label: str
    start: str
    end: str


@router.get("", operation_id="list_streams", responses=document())
def list_streams(service: ServiceOf, caller: Viewer) -> list[StreamInfo]:
    """All streams."""
    return [_describe(service, caller.role, *one) for one in service.streams.list_all()]


@router.post(
    "",
    operation_id="add_stream",
    status_code=201,
    responses={
        201: {"headers": {"Location": {"schema": {"type": "string"}}}},
        **document(409, 422, 507),
        503: {"model": Fault, "headers": {"Retry-After": {"schema": {"type": "integer"}}}},
    },
)
def add_stream(
    service: ServiceOf, caller: Operator, response: Response, new: NewStream
) -> StreamInfo:
    """Add a stream, of the schemes and networks that `--allow-source` names."""
    settings = new.model_dump(exclude_none=True)
    key = service.streams.add(Camera(**settings))
    response.headers["Location"] = f"/v1/streams/{key}"
    return _read(service, caller.role, key)


@router.get("/{key}", operation_id="read_stream", responses=document(404, 422))
def read_stream(service: ServiceOf, caller: Viewer, key: Key) -> StreamInfo:
    """One stream."""
    return _read(service, caller.role, key)


@router.patch("/{key}", operation_id="change_stream", responses=document(404, 409, 422, 507))
def change_stream(
    service: ServiceOf, caller: Operator, key: Key, change: StreamChange
) -> StreamInfo:
    """Pause or resume a stream; change how it is labelled, which restarts it."""
    settings = change.model_dump(exclude_none=True)
    service.streams.change(key, settings.pop("paused", None), settings)
    return _read(service, caller.role, key)


@router.delete(
    "/{key}", operation_id="remove_stream", status_code=204, responses=document(404, 422, 507)
)
def remove_stream(service: ServiceOf, _caller: Operator, key: Key) -> None:
    """End and forget a stream. One of the fleet file comes back when that file changes."""
    service.streams.remove(key)


@router.get(
    "/{key}/picture",
    operation_id="read_picture",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
        204: {"description": "There is no picture now."},
        **document(404, 422),
    },
)
def read_picture(
    service: ServiceOf,
    _caller: Viewer,
    key: Key,
    width: Annotated[int, Query(ge=16, le=1920)] = 640,
) -> Response:
    """The latest picture as JPEG, at most `width` wide."""
    jpeg = service.streams.find(key).picture(width)
    if jpeg is None:
        return Response(status_code=204)
    return Response(jpeg, media_type="image/jpeg")


@router.get("/{key}/timeline", operation_id="read_timeline", responses=document(404, 422))
def read_timeline(
    service: ServiceOf,
    _caller: Viewer,
    key: Key,
    hours: Annotated[float, Query(gt=0, le=MAX_HOURS)] = 1.0,
) -> list[Run]:
    """The labels of the last hours, as runs, oldest first; at most 5000."""
    runs = service.streams.find(key).history.list_since(time.time() - hours * 3600)
    return [
        Run(label=run.label, start=format_time(run.start_seconds), end=format_time(run.end_seconds))
        for run in runs
    ]


@router.get(
    "/{key}/snapshot",
    operation_id="take_snapshot",
    response_class=Response,
    responses={
        200: {"content": {SNAPSHOT_TYPE: {"schema": {"type": "string", "format": "binary"}}}},
        **CONFLICTS,
    },
)
def take_snapshot(service: ServiceOf, _caller: Admin, key: Key) -> Response:
    """Copy the state of a stream's network: a safetensors file."""
    snapshot = service.streams.snapshot(key)
    with tempfile.TemporaryDirectory(prefix="co3d-") as folder:
        path = FilePath(folder) / "snapshot.safetensors"
        snapshot.save(path)
        return Response(path.read_bytes(), media_type=SNAPSHOT_TYPE)


@router.put(
    "/{key}/snapshot",
    operation_id="restore_snapshot",
    status_code=204,
    responses={**CONFLICTS, **document(415)},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {SNAPSHOT_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def restore_snapshot(request: Request, service: ServiceOf, _caller: Admin, key: Key) -> None:
    """Continue a stream from a snapshot, without warming up."""
    from starlette.concurrency import run_in_threadpool

    if request.headers.get("content-type") != SNAPSHOT_TYPE:
        raise HTTPException(415, f"expected Content-Type: {SNAPSHOT_TYPE}")
    content = await request.body()
    await run_in_threadpool(_restore, service, key, content)


def _restore(service: ServiceOf, key: str, content: bytes) -> None:
    service.streams.find(key)
    with tempfile.TemporaryDirectory(prefix="co3d-") as folder:
        path = FilePath(folder) / "snapshot.safetensors"
        path.write_bytes(content)
        snapshot = Snapshot.load(path)
    service.streams.restore(key, snapshot)


def _read(service: ServiceOf, role: Role, key: str) -> StreamInfo:
    return _describe(service, role, key, *service.streams.read(key))


def _describe(
    service: ServiceOf, role: Role, key: str, entry: Entry, status: CameraStatus | None
) -> StreamInfo:
    camera, latest = entry.camera, entry.latest
    label = None if latest is None else latest.label
    return StreamInfo(
        id=key,
        name=make_printable(camera.name),
        origin="added" if entry.is_added else "configured",
        source=make_printable(hide_password(camera.source)) if role >= Role.OPERATOR else None,
        rate_hz=camera.rate_hz or service.engine.card.rate_hz,
        priority=camera.priority,
        threshold=camera.threshold,
        smooth_seconds=camera.smooth_seconds,
        label=label,
        probability=latest.top[0][1] if latest is not None and label is not None else None,
        counts=_count(status),
        restarted=entry.restarted,
        **_describe_state(entry, status),
    )


def _describe_state(entry: Entry, status: CameraStatus | None) -> dict[str, Any]:
    if status is None:
        return {"state": "paused", "since": None, "cause": None}
    if status.has_ended:
        cause = None if status.error is None else entry.clean(str(status.error))
        return {"state": "ended", "since": None, "cause": cause}
    if status.state is None:
        return {"state": "reading", "since": None, "cause": None}
    cause = None if status.state.cause is None else entry.clean(status.state.cause)
    since = format_time(status.state.since_seconds)
    return {"state": status.state.phase, "since": since, "cause": cause}


def _count(status: CameraStatus | None) -> Counts | None:
    metrics = None if status is None else status.metrics
    if status is None or metrics is None:
        return None
    return Counts(
        pictures=metrics.pictures,
        predictions=metrics.predictions,
        dropped_frames=metrics.dropped_frames,
        gaps=metrics.gaps,
        jumps_back=status.irregularities.jumps_back,
        size_changes=status.irregularities.size_changes,
        rate_hz=metrics.rate_hz,
        step_p95_ms=metrics.step.p95_ms,
        latency_p95_ms=metrics.latency.p95_ms,
        lag_ms=metrics.lag_ms,
    )
