"""A Python client of the server: streams, events, and labelling of own pictures."""

import json
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import Request, build_opener

import numpy as np

from co3d.arguments import check_arguments
from co3d.errors import Co3dError, OptionError, SourceUnreachableError
from co3d.packages import require_package
from co3d.serving.pictures import encode_jpeg

TIMEOUT_SECONDS = 30.0
MAX_WIDTH = 1920
RETRY_SECONDS = 1.0
HEADER = struct.Struct(">d")


class ServerRefusedError(Co3dError):
    """A server refused a request.

    Args:
        message: why. status: of HTTP, or the close code of a WebSocket.
        retry_seconds: when to try again, if that may help.
    """

    def __init__(self, message: str, status: int, retry_seconds: float | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_seconds = status, retry_seconds


@dataclass(frozen=True)
class RemoteStream:
    """A stream of a server; see `GET /v1/streams` in its OpenAPI document."""

    id: str
    name: str
    origin: str
    source: str | None
    state: str
    since: str | None
    cause: str | None
    rate_hz: float
    priority: int
    threshold: float
    smooth_seconds: float
    label: str | None
    probability: float | None
    counts: dict[str, Any] | None
    restarted: bool | None = None


@dataclass(frozen=True)
class RemotePrediction:
    """A prediction about pictures that the client sent.

    Attributes:
        pts_seconds: of the picture that it describes. valid: whether the window was full.
        label: the likeliest; None if there is none. top: labels with probabilities.
        latency_ms: preprocessing and step, on the server.
        restarted: the stream lost its state with a fleet's engine, and is filling its window again.
    """

    pts_seconds: float
    valid: bool
    label: str | None
    top: tuple[tuple[str, float], ...]
    latency_ms: float
    dropped_frames: int
    restarted: bool = False


class Client:
    """Talks to a server of `co3d serve`, for example::

        client = co3d.Client("http://127.0.0.1:8700", token="…")
        client.add_stream("gate", "rtsp://10.0.0.9/stream")
        for record in client.follow_events():
            print(record["camera"], record["label"], record["kind"])

    Args:
        url: of the server. token: what `co3d token` printed; None where none is needed.
        timeout_seconds: for each answer.

    Raises:
        OptionError: the address is not http or https.
    """

    @check_arguments()
    def __init__(
        self, url: str, token: str | None = None, *, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise OptionError(f"cannot talk to {url!r}: expected http://… or https://…")
        self._url, self._timeout_seconds = url.rstrip("/"), timeout_seconds
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._opener = build_opener()

    def get_server(self) -> dict[str, Any]:
        """The network that the server runs, and what the token allows."""
        return self._ask("GET", "/v1/server")

    def list_streams(self) -> list[RemoteStream]:
        """All streams."""
        return [_read_stream(one) for one in self._ask("GET", "/v1/streams")]

    def read_stream(self, stream: str) -> RemoteStream:
        """A stream by its id."""
        return _read_stream(self._ask("GET", _path(stream)))

    def add_stream(self, name: str, source: str, **settings: Any) -> RemoteStream:
        """Add a stream; settings are rate_hz, priority, threshold, smooth_seconds and tls."""
        body = {"name": name, "source": source, **settings}
        return _read_stream(self._ask("POST", "/v1/streams", body))

    def change_stream(self, stream: str, **change: Any) -> RemoteStream:
        """Change a stream's settings, or its `paused`."""
        return _read_stream(self._ask("PATCH", _path(stream), change))

    def remove_stream(self, stream: str) -> None:
        """End a stream and forget it."""
        self._ask("DELETE", _path(stream))

    def read_picture(self, stream: str, width: int = 640) -> bytes | None:
        """The latest picture as JPEG; None if there is none."""
        return self._fetch("GET", f"{_path(stream)}/picture?width={width}") or None

    def take_snapshot(self, stream: str) -> bytes:
        """The state of a stream's network: a file for `co3d.Snapshot.load`."""
        return self._fetch("GET", f"{_path(stream)}/snapshot")

    def restore_snapshot(self, stream: str, content: bytes) -> None:
        """Continue a stream from a snapshot."""
        self._fetch("PUT", f"{_path(stream)}/snapshot", content, "application/octet-stream")

    def list_events(self, **filters: Any) -> list[dict[str, Any]]:
        """Events; filters are stream, rule, since, until, is_open, after, order and limit."""
        return self._ask("GET", f"/v1/events?{urlencode(filters)}")

    def follow_events(
        self, after: int | None = None, stream: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Records of events as they are written, for ever; breaks of the connection lose none.

        Args:
            after: number of the last known record; None for those from now on.
            stream: only events of this stream.

        Raises:
            ServerRefusedError: the server does not allow the client to follow.
        """
        query = "" if stream is None else f"?{urlencode({'stream': stream})}"
        while True:
            headers = {} if after is None else {"Last-Event-ID": str(after)}
            try:
                with self._open("GET", f"/v1/events/stream{query}", headers=headers) as answer:
                    for line in answer:
                        if line.startswith(b"data: "):
                            record = json.loads(line[len(b"data: ") :])
                            after = record["number"]
                            yield record
            except (OSError, ValueError) as error:
                if isinstance(error, Co3dError) and not isinstance(error, SourceUnreachableError):
                    raise
            time.sleep(RETRY_SECONDS)

    def label(
        self, pictures: Iterable[tuple[np.ndarray, float]], rate_hz: float | None = None
    ) -> Iterator[RemotePrediction]:
        """Send pictures (H, W, 3) uint8 with their times in seconds; yields predictions about them.

        Pictures are treated as live: the server drops what comes faster than it labels.

        Raises:
            ServerRefusedError: there is no room, or the server cannot use a picture.
        """
        require_package("websockets", extra="serving")
        from websockets.exceptions import ConnectionClosed
        from websockets.sync.client import connect

        address = self._url.replace("http", "ws", 1) + "/v1/live"
        start = {"type": "start", "format": "jpeg", "rate_hz": rate_hz}
        try:
            with connect(address, additional_headers=self._headers) as socket:
                socket.send(json.dumps(start))
                _read_message(socket.recv(self._timeout_seconds))
                for picture, pts_seconds in pictures:
                    socket.send(HEADER.pack(pts_seconds) + encode_jpeg(picture, MAX_WIDTH))
                    yield from _read_all(socket, 0)
                yield from _read_all(socket, RETRY_SECONDS)
        except ConnectionClosed as error:
            code = error.rcvd.code if error.rcvd else 1006
            raise ServerRefusedError(f"{self._url} ended the session ({code})", code) from error
        except OSError as error:
            raise SourceUnreachableError(f"cannot reach {self._url}: {error}") from error

    def _ask(self, method: str, path: str, body: object | None = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        answer = self._fetch(method, path, content)
        return json.loads(answer) if answer else None

    def _fetch(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        headers = {} if content is None else {"Content-Type": content_type}
        with self._open(method, path, content, headers) as answer:
            return answer.read()

    def _open(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        request = Request(  # noqa: S310 (http or https, as checked)
            self._url + path, content, {**self._headers, **(headers or {})}, method=method
        )
        try:
            return self._opener.open(request, timeout=self._timeout_seconds)
        except HTTPError as error:
            with error:
                retry = error.headers.get("Retry-After")
                message = _read_fault(error.read())
            raise ServerRefusedError(
                f"{self._url} refuses {method} {path.partition('?')[0]}: {message}",
                error.code,
                float(retry) if retry and retry.isdecimal() else None,
            ) from error
        except URLError as error:
            raise SourceUnreachableError(
                f"cannot reach {self._url}: {error.reason}; check the address and that it runs"
            ) from error


def _path(stream: str) -> str:
    return f"/v1/streams/{quote(stream, safe='')}"


def _read_stream(values: dict[str, Any]) -> RemoteStream:
    """A stream; fields that a later server adds are ignored."""
    known: dict[str, Any] = {one.name: values.get(one.name) for one in fields(RemoteStream)}
    return RemoteStream(**known)


def _read_fault(content: bytes) -> str:
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return "no reason given"


def _read_all(socket: Any, wait_seconds: float) -> Iterator[RemotePrediction]:
    """Predictions that have arrived, and later ones until none arrives for `wait_seconds`."""
    while True:
        try:
            prediction = _read_message(socket.recv(wait_seconds))
        except TimeoutError:
            return
        if prediction is not None:
            yield prediction


def _read_message(text: str | bytes) -> RemotePrediction | None:
    message = json.loads(text)
    if message["type"] == "error":
        raise ServerRefusedError(message["message"], 1013, message.get("retry_seconds"))
    if message["type"] != "prediction":
        return None
    top = tuple((one["label"], one["probability"]) for one in message["top"])
    return RemotePrediction(
        message["pts_seconds"],
        message["valid"],
        message["label"],
        top,
        message["latency_ms"],
        message["dropped_frames"],
        message.get("restarted", False),
    )
