"""The ASGI application: routes behind the guard."""

from fastapi import FastAPI

from co3d.serving.faults import add_fault_handlers
from co3d.serving.guard import Guard
from co3d.serving.routes import events, health, live, pages, sessions, streams
from co3d.serving.service import Service

DESCRIPTION = """Labels cameras and visitors' own video with one network.

Programs send `Authorization: Bearer TOKEN`. Browsers sign in once (`POST /v1/session`) and send
`X-CSRF-Token` with each change. Two WebSockets, `/v1/live` and `/v1/feed`, are described in the
documentation of serving."""


def make_app(service: Service) -> FastAPI:
    """The application of a service, which its caller closes."""
    app = FastAPI(
        title="co3d",
        version=service.settings.version or "0",
        description=DESCRIPTION,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    for routes in (health, sessions, streams, events, live, pages):
        app.include_router(routes.router)
    add_fault_handlers(app)
    app.add_middleware(Guard, settings=service.settings, callers=service.callers)
    return app
