"""Checks before every request: host, origin, rate and size; also sets security headers."""

import json
import math
from typing import Any
from urllib.parse import urlsplit

from anyio import fail_after, move_on_after
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from co3d.serving.callers import Callers, GuessingError
from co3d.serving.settings import ServerSettings
from co3d.serving.throttle import Throttle
from co3d.serving.tokens import Role

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
CSRF_HEADER = "x-csrf-token"
SNAPSHOT_ENDING = "/snapshot"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
TRANSPORT_SECURITY = "max-age=31536000"
DISCARDED_BYTES, DISCARDING_SECONDS = 1 << 20, 2.0
UNREADABLE = (400, 408)
"""Requests whose bodies have no clear end, or did not come in time: no more of them is read."""


class RefusedError(Exception):
    """The request is refused.

    Args:
        status: of HTTP. message: why. retry_seconds: when to try again, if that may help.
    """

    def __init__(self, status: int, message: str, retry_seconds: float | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_seconds = status, retry_seconds


class _Body:
    """A request's messages, of which the rest can be discarded."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._is_over = receive, False

    async def receive(self) -> Message:
        """See ASGI."""
        message = await self._receive()
        self._is_over = message["type"] != "http.request" or not message.get("more_body")
        return message

    async def discard(self) -> None:
        """Receive up to 1 MiB of the rest, for at most 2 s.

        If a connection closes while its client still sends, the client's system may report that,
        and not the answer.
        """
        left = DISCARDED_BYTES
        with move_on_after(DISCARDING_SECONDS):
            while left > 0 and not self._is_over:
                left -= len((await self.receive()).get("body", b""))


class Guard:
    """ASGI middleware; it stores the caller in `scope["state"]["caller"]`.

    Args:
        app: the wrapped application. settings: of the server. callers: identifies who sends.

    Attributes:
        refused: number of refused requests.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings, callers: Callers) -> None:
        self._app, self._settings, self._callers = app, settings, callers
        limits = settings.limits
        self._throttle = Throttle(limits.requests_per_second, limits.request_burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        guarded, body = self._add_headers(scope, send), _Body(receive)
        try:
            receive = await self._admit(scope, body.receive)
        except RefusedError as refused:
            asks_first = "expect" in Headers(scope=scope)
            if scope["type"] == "http" and not asks_first and refused.status not in UNREADABLE:
                await body.discard()
            await _refuse(scope, guarded, refused)
            return
        await self._app(scope, receive, guarded)

    async def _admit(self, scope: Scope, receive: Receive) -> Receive:
        """Check a request; returns the function from which to receive its body."""
        headers = Headers(scope=scope)
        client = scope["client"][0] if scope.get("client") else "unknown"
        self._check_host(headers)
        if not self._throttle.take(client):
            wait_seconds = self._throttle.wait_seconds(client)
            raise RefusedError(429, "too many requests", wait_seconds)
        changes = scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS
        if changes:
            self._check_origin(headers)
        try:
            caller = self._callers.identify(headers, client)
        except GuessingError as error:
            raise RefusedError(429, str(error), error.wait_seconds) from error
        scope.setdefault("state", {})["caller"] = caller
        if scope["type"] == "websocket" or not changes:
            return receive
        if not caller.may_change(headers.get(CSRF_HEADER, "")):
            raise RefusedError(403, f"the header {CSRF_HEADER} is missing or wrong; sign in again")
        is_snapshot = scope["path"].endswith(SNAPSHOT_ENDING) and caller.role >= Role.ADMIN
        limits = self._settings.limits
        most = limits.snapshot_bytes if is_snapshot else limits.body_bytes
        return await self._read_body(headers, receive, most)

    def _check_host(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or "," in hosts[0] or "@" in hosts[0]:
            raise RefusedError(400, "expected one Host header")
        allowed = self._settings.allowed_hosts
        if allowed is not None and _read_host(hosts[0]) not in allowed:
            raise RefusedError(
                421, "this server does not answer to that name; use the address that it printed"
            )

    def _check_origin(self, headers: Headers) -> None:
        """Refuse requests from another site's page; programs send no Origin header."""
        origin = headers.get("origin")
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise RefusedError(403, "requests from another site are refused")
        if origin is None:
            return
        own = {f"{'https' if self._settings.is_secure else 'http'}://{headers['host']}"}
        if self._settings.public_url is not None:
            own.add(self._settings.public_url.rstrip("/"))
        if origin not in own:
            raise RefusedError(403, "requests from another site are refused")

    async def _read_body(self, headers: Headers, receive: Receive, most: int) -> Receive:
        """Read the whole body within its limits, and provide it as one message."""
        if "transfer-encoding" in headers and "content-length" in headers:
            raise RefusedError(400, "got Transfer-Encoding and Content-Length, expected one")
        too_large = RefusedError(413, f"the body is too large: at most {most} bytes are accepted")
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            raise RefusedError(400, "Content-Length is no number")
        if int(length) > most:
            raise too_large
        body = bytearray()

        async def read() -> None:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RefusedError(400, "the client has gone")
                body.extend(message.get("body", b""))
                if len(body) > most:
                    raise too_large
                if not message.get("more_body"):
                    return

        try:
            with fail_after(self._settings.limits.body_seconds):
                await read()
        except TimeoutError as error:
            raise RefusedError(408, "the body did not come in time") from error
        is_given = False

        async def give() -> Message:
            nonlocal is_given
            if is_given:
                return await receive()
            is_given = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        return give

    def _add_headers(self, scope: Scope, send: Send) -> Send:
        is_api = scope["path"].startswith("/v1")

        async def guarded(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if self._settings.is_secure:
                    headers["Strict-Transport-Security"] = TRANSPORT_SECURITY
                if is_api:
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        return guarded


async def _refuse(scope: Scope, send: Send, refused: RefusedError) -> None:
    if scope["type"] == "websocket" and "websocket.http.response" not in scope["extensions"]:
        await send({"type": "websocket.close", "code": 1008})
        return
    prefix = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    body = json.dumps({"error": "RefusedError", "message": str(refused)}).encode()
    headers: list[Any] = [(b"content-type", b"application/json"), (b"connection", b"close")]
    headers.append((b"content-length", str(len(body)).encode()))
    if refused.retry_seconds is not None:
        headers.append((b"retry-after", str(math.ceil(refused.retry_seconds)).encode()))
    await send({"type": f"{prefix}.start", "status": refused.status, "headers": headers})
    await send({"type": f"{prefix}.body", "body": body})


def _read_host(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
