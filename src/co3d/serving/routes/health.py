"""`/healthz`, `/readyz` and `/metrics`."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from co3d.serving.faults import document
from co3d.serving.metrics import write_metrics
from co3d.serving.routes.access import ServiceOf, Viewer

router = APIRouter(tags=["health"])
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Health(BaseModel):
    """Whether the server works, and the faults if it does not."""

    ok: bool
    faults: list[str]


def _answer(faults: list[str]) -> JSONResponse:
    health = Health(ok=not faults, faults=faults)
    return JSONResponse(health.model_dump(), 503 if faults else 200)


@router.get(
    "/healthz",
    operation_id="check_health",
    response_model=Health,
    responses={503: {"model": Health}, **document()},
)
def check_health(service: ServiceOf) -> JSONResponse:
    """Whether the engine steps and results are delivered; if not, restart the server."""
    faults = ["streams" for _ in range(not service.streams.is_alive)]
    stuck = service.progress.find_stuck()
    if stuck:
        faults.append(f"{len(stuck)} tracks get pictures but make no step")
    return _answer(faults)


@router.get(
    "/readyz",
    operation_id="check_readiness",
    response_model=Health,
    responses={503: {"model": Health}, **document()},
)
def check_readiness(service: ServiceOf) -> JSONResponse:
    """Whether new clients are served; if not, send them to another server."""
    return _answer(["ending"] if service.is_ending else [])


@router.get(
    "/metrics",
    operation_id="read_metrics",
    response_class=Response,
    responses={200: {"content": {METRICS_TYPE: {"schema": {"type": "string"}}}}, **document()},
)
def read_metrics(service: ServiceOf, _caller: Viewer) -> Response:
    """Counts for Prometheus."""
    return Response(write_metrics(service), media_type=METRICS_TYPE)
