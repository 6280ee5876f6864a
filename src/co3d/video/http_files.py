"""Files that an HTTP source leads to: where redirects end, and the segments of a playlist."""

import re
import ssl
from http.client import HTTPException, HTTPMessage, HTTPResponse
from io import BytesIO
from typing import IO, Any, Protocol
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit
from urllib.request import (
    HTTPBasicAuthHandler,
    HTTPCookieProcessor,
    HTTPDigestAuthHandler,
    HTTPPasswordMgrWithDefaultRealm,
    HTTPRedirectHandler,
    HTTPSHandler,
    Request,
    build_opener,
)

import av

from co3d.video.access import Distance, Reach

USER_AGENT = f"Lavf/{'.'.join(map(str, av.library_versions['libavformat']))}"
"""What FFmpeg calls itself; some servers refuse Python."""

_PLAYLIST_HEAD = b"#EXTM3U"
_MOST_PLAYLIST_BYTES = 16 << 20
_ADDRESS_IN_TAG = re.compile(rb'(?<=URI=")[^"]*')


class Readable(Protocol):
    """What PyAV reads a nested file from."""

    def read(self, size: int, /) -> bytes:
        """Up to so many bytes; none at the end."""
        ...

    def close(self) -> None:
        """Free it."""
        ...


class HttpFiles:
    """Opens what one HTTP source leads to, as far as its `Reach` goes.

    Its password goes to its own host alone, and the cookies that it sets go back to it.

    Args:
        address: of the source, as the user gave it.
        timeout_seconds: for each answer.
    """

    def __init__(self, address: str, timeout_seconds: float) -> None:
        self._reach = Reach(address)
        self._timeout_seconds = timeout_seconds
        self._address = address
        passwords = HTTPPasswordMgrWithDefaultRealm()
        parts = urlsplit(address)
        if parts.username is not None:
            user, password = unquote(parts.username), unquote(parts.password or "")
            passwords.add_password(None, _without_user(address), user, password)
        context = ssl.create_default_context()
        if self._reach.distance is not Distance.PUBLIC:  # cameras sign their certificates
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._opener = build_opener(
            _Redirects(self._reach),
            HTTPCookieProcessor(),
            HTTPBasicAuthHandler(passwords),
            HTTPDigestAuthHandler(passwords),
            HTTPSHandler(context=context),
        )

    def find_end(self) -> str:
        """Where the redirects of the source end; its own address if there are none.

        Raises:
            NotAVideoError: they lead where they may not.
            OSError: nobody answers, or the answer is a refusal.
        """
        with self._request(self._address) as response:
            end = response.url
        if end == _without_user(self._address):
            return self._address
        parts, own = urlsplit(end), urlsplit(self._address)
        if "@" in own.netloc and parts.netloc == own.netloc.rpartition("@")[2]:
            return urlunsplit(parts._replace(netloc=own.netloc))
        return end

    def open(self, address: str, _flags: int, options: dict[str, Any]) -> Readable:
        """Open a playlist or segment for FFmpeg; what does not answer is empty.

        Raises:
            NotAVideoError: it lies where the source may not lead.
        """
        self._reach.check(address)
        headers = {}
        if "offset" in options or "end_offset" in options:
            end = int(options.get("end_offset") or 0)
            headers["Range"] = f"bytes={options.get('offset') or 0}-{end - 1 if end else ''}"
        try:
            response = self._request(address, headers)
            if response.url == _without_user(address):
                return _Response(response)
            return _read_moved(response)
        except (OSError, HTTPException, ValueError):  # a live source goes on with its next segment
            return BytesIO()

    def _request(self, address: str, headers: dict[str, str] | None = None) -> HTTPResponse:
        self._reach.check(address)
        given = {"User-Agent": USER_AGENT, **(headers or {})}
        request = Request(_without_user(address), headers=given)  # noqa: S310 (checked above)
        return self._opener.open(request, timeout=self._timeout_seconds)


def _read_moved(response: HTTPResponse) -> Readable:
    """What redirects have led to; of a playlist the addresses are made whole.

    FFmpeg takes them to be beside where it asked for the playlist, and they are beside where that
    lies.
    """
    head = response.read(len(_PLAYLIST_HEAD))
    if head != _PLAYLIST_HEAD:
        return _Response(response, head)
    with response:
        text = head + response.read(_MOST_PLAYLIST_BYTES)
    return BytesIO(_make_whole(text, response.url))


def _make_whole(playlist: bytes, base: str) -> bytes:
    def join(address: bytes) -> bytes:
        return urljoin(base, address.decode().strip()).encode()

    lines = playlist.splitlines()
    for place, line in enumerate(lines):
        if line.startswith(b"#"):
            lines[place] = _ADDRESS_IN_TAG.sub(lambda found: join(found.group()), line)
        elif line.strip():
            lines[place] = join(line)
    return b"\n".join((*lines, b""))


class _Response:
    """A response that ends where its connection breaks; some of it may have been read."""

    def __init__(self, response: HTTPResponse, head: bytes = b"") -> None:
        self._response, self._head = response, head

    def read(self, size: int) -> bytes:
        if self._head:
            head, self._head = self._head[:size], self._head[size:]
            return head
        try:
            return self._response.read(size)
        except (OSError, HTTPException):
            return b""

    def close(self) -> None:
        self._response.close()


class _Redirects(HTTPRedirectHandler):
    """Follows redirects as far as a source may lead."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        self._reach.check(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _without_user(address: str) -> str:
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
