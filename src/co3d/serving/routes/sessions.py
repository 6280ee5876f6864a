"""Routes to sign in and out, and to describe the server."""

from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from co3d.report.colours import label_colours
from co3d.serving.browser_sessions import LIFE_SECONDS
from co3d.serving.faults import document
from co3d.serving.routes.access import CallerOf, ServiceOf
from co3d.serving.tokens import Role

router = APIRouter(tags=["server"])
RoleName = Literal["nobody", "viewer", "operator", "admin"]


class SignIn(BaseModel):
    """A token for a cookie."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"token": "kq3X…"}]}
    )
    token: Annotated[str, Field(min_length=1, max_length=200)]


class SignedIn(BaseModel):
    """Who is signed in, and the X-CSRF-Token to send with each change."""

    name: str
    role: RoleName
    csrf: str


class ServerInfo(BaseModel):
    """The network that the server runs, and what the caller may do.

    Attributes:
        labels: of the network, with a colour each. rate_hz: frames per second for the network.
        delay_seconds: a prediction describes the frame that came this long before.
        window_seconds: the length of video that a prediction is based on.
        csrf: of the browser's session; null without one.
        transports: how a visitor's video may come, best first.
    """

    version: str
    network: str
    summary: str
    labels: dict[str, str]
    rate_hz: float
    delay_seconds: float
    window_seconds: float
    has_streams: bool
    has_events: bool
    may_add_sources: bool
    transports: list[str]
    ice_servers: list[str]
    max_pixels: int
    name: str
    role: RoleName
    csrf: str | None


def _name_role(role: Role) -> RoleName:
    names: dict[Role, RoleName] = {
        Role.VIEWER: "viewer",
        Role.OPERATOR: "operator",
        Role.ADMIN: "admin",
    }
    return names.get(role, "nobody")


@router.get("/v1/server", operation_id="get_server", responses=document())
def read_server(service: ServiceOf, caller: CallerOf) -> ServerInfo:
    """The network that the server runs, and what the caller may do; needs no token."""
    engine, settings = service.engine, service.settings
    program = engine.compiled.program
    is_known = caller.role is not Role.NOBODY
    window_steps = program.first_valid_step - program.delay
    return ServerInfo(
        version=settings.version,
        network=engine.card.name,
        summary=engine.card.summary,
        labels=label_colours(engine.labels) if is_known else {},
        rate_hz=engine.card.rate_hz,
        delay_seconds=program.delay / engine.card.rate_hz,
        window_seconds=window_steps / engine.card.rate_hz,
        has_streams=settings.fleet is not None or bool(settings.allowed_sources),
        has_events=service.events is not None,
        may_add_sources=caller.role >= Role.OPERATOR and bool(settings.allowed_sources),
        transports=list(service.transports),
        ice_servers=list(settings.ice_servers) if is_known else [],
        max_pixels=settings.limits.pixels,
        name=caller.person.name,
        role=_name_role(caller.role),
        csrf=None if caller.session is None else caller.session.csrf,
    )


@router.post("/v1/session", operation_id="sign_in", responses=document(422))
def sign_in(
    service: ServiceOf, request: Request, response: Response, caller: CallerOf, given: SignIn
) -> SignedIn:
    """Sign a browser in for twelve hours, by a cookie that scripts cannot read."""
    callers = service.callers
    client = request.client.host if request.client else "unknown"
    person = callers.check(given.token, client)
    if person is None:
        raise HTTPException(401, "no such token", {"WWW-Authenticate": "Bearer"})
    if caller.cookie:
        callers.sessions.end(caller.cookie)
    cookie, session = callers.sessions.open(person)
    response.set_cookie(
        callers.cookie_name,
        cookie,
        max_age=int(LIFE_SECONDS),
        path="/",
        secure=service.settings.is_secure,
        httponly=True,
        samesite="strict",
    )
    return SignedIn(name=person.name, role=_name_role(person.role), csrf=session.csrf)


@router.delete("/v1/session", operation_id="sign_out", status_code=204, responses=document())
def sign_out(service: ServiceOf, response: Response, caller: CallerOf) -> None:
    """Sign the browser out."""
    if caller.cookie:
        service.callers.sessions.end(caller.cookie)
    response.delete_cookie(service.callers.cookie_name, path="/")
