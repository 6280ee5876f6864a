"""Errors in the form that clients get: an HTTP status, and what to do."""

import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from co3d.errors import (
    Co3dError,
    EngineFullError,
    NotAVideoError,
    OutputError,
    SandboxError,
    StreamError,
    VideoLimitError,
)
from co3d.printable import make_printable
from co3d.serving.callers import GuessingError
from co3d.serving.streams import TakenError, UnknownStreamError
from co3d.video import hide_password

RETRY_SECONDS = 5
STATUSES: tuple[tuple[type[Co3dError], int], ...] = (
    (EngineFullError, 503),
    (UnknownStreamError, 404),
    (TakenError, 409),
    (StreamError, 409),
    (VideoLimitError, 413),
    (NotAVideoError, 422),
    (OutputError, 507),
    (SandboxError, 502),
)
GUARD_STATUSES = (400, 401, 403, 408, 413, 429)
"""Errors that any request may get: too large or too slow a body is refused even if it is not
read."""


class Fault(BaseModel):
    """The error that a response carries.

    Attributes:
        error: its kind. message: what failed, what was expected, what to do.
    """

    error: str
    message: str


def document(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries for a route's errors, including those of the guard."""
    return {status: {"model": Fault} for status in (*GUARD_STATUSES, *statuses)}


def describe_fault(error: Co3dError) -> dict[str, str]:
    """An error as JSON values, without passwords and control characters."""
    message = make_printable(hide_password(str(error)))
    return {"error": type(error).__name__, "message": message}


def find_status(error: Co3dError) -> int:
    """The HTTP status of an error."""
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 400)


def add_fault_handlers(app: FastAPI) -> None:
    """Answer with a `Fault` for every error that a route raises."""

    @app.exception_handler(Co3dError)
    def _tell(_request: Request, error: Co3dError) -> JSONResponse:
        status = find_status(error)
        headers = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else None
        return JSONResponse(describe_fault(error), status, headers)

    @app.exception_handler(GuessingError)
    def _slow_down(_request: Request, error: GuessingError) -> JSONResponse:
        headers = {"Retry-After": str(math.ceil(error.wait_seconds))}
        return JSONResponse({"error": "GuessingError", "message": str(error)}, 429, headers)

    @app.exception_handler(HTTPException)
    def _pass_on(_request: Request, error: HTTPException) -> JSONResponse:
        fault = {"error": "RefusedError", "message": str(error.detail)}
        return JSONResponse(fault, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    def _explain(_request: Request, error: RequestValidationError) -> JSONResponse:
        complaints = [
            f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}"
            for one in error.errors()[:20]
        ]
        message = make_printable(hide_password("; ".join(complaints)))[:2000]
        return JSONResponse({"error": "ValidationError", "message": message}, 422)
