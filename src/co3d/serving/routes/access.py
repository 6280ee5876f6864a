"""Dependencies of routes: the service, and the caller's role."""

from typing import Annotated

from fastapi import Depends, HTTPException, Security
from fastapi.security import HTTPBearer
from starlette.requests import HTTPConnection

from co3d.serving.callers import Caller
from co3d.serving.service import Service
from co3d.serving.tokens import Role

BEARER = HTTPBearer(auto_error=False, description="A token that `co3d token` made.")
TOO_LITTLE = 1008
"""The WebSocket close code for callers who may not use it."""


def get_service(connection: HTTPConnection) -> Service:
    """The service of the application."""
    return connection.app.state.service


def get_caller(connection: HTTPConnection) -> Caller:
    """The caller, as the guard identified it."""
    return connection.state.caller


ServiceOf = Annotated[Service, Depends(get_service)]
CallerOf = Annotated[Caller, Depends(get_caller)]


def check_role(caller: Caller, role: Role) -> None:
    """Raise HTTPException unless the caller has at least this role."""
    if caller.role is Role.NOBODY:
        raise HTTPException(
            401, "give a token: `Authorization: Bearer …`", {"WWW-Authenticate": "Bearer"}
        )
    if caller.role < role:
        raise HTTPException(403, f"that needs a token of the role {role.name.lower()}")


def _viewer(caller: CallerOf, _token: Annotated[object, Security(BEARER)]) -> Caller:
    check_role(caller, Role.VIEWER)
    return caller


def _operator(caller: CallerOf, _token: Annotated[object, Security(BEARER)]) -> Caller:
    check_role(caller, Role.OPERATOR)
    return caller


def _admin(caller: CallerOf, _token: Annotated[object, Security(BEARER)]) -> Caller:
    check_role(caller, Role.ADMIN)
    return caller


Viewer = Annotated[Caller, Depends(_viewer)]
Operator = Annotated[Caller, Depends(_operator)]
Admin = Annotated[Caller, Depends(_admin)]
