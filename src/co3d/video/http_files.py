"""Files that an HTTP source leads to: the end of redirects, and the segments of a playlist."""

import re
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

from co3d.video.access import Reach
from co3d.video.certificates import TlsSettings

USER_AGENT = f"Lavf/{'.'.join(map(str, av.library_versions['libavformat']))}"
"""FFmpeg's user agent; some servers refuse Python's."""

_PLAYLIST_HEAD = b"#EXTM3U"
_MOST_PLAYLIST_BYTES = 16 << 20
_ADDRESS_IN_TAG = re.compile(rb'(?<=URI=")[^"]*')


class Readable(Protocol):
    """The file interface that PyAV reads a nested file through."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...

    def close(self) -> None:
        """Free it."""
        ...


class HttpFiles:
    """Opens what one HTTP source leads to, as far as its `Reach` allows.

    Its password is sent to its own host only, and so are the cookies that it sets.

    Args:
        address: of the source, as the user gave it.
        timeout_seconds: for each answer. tls: for certificates of all that answer.
    """

    def __init__(self, address: str, timeout_seconds: float, tls: TlsSettings) -> None:
        self._reach = Reach(address)
        self._timeout_seconds = timeout_seconds
        self._address = address
        passwords = HTTPPasswordMgrWithDefaultRealm()
        parts = urlsplit(address)
        if parts.username is not None:
            user, password = unquote(parts.username), unquote(parts.password or "")
            passwords.add_password(None, _without_user(address), user, password)
        self._opener = build_opener(
            _Redirects(self._reach),
            HTTPCookieProcessor(),
            HTTPBasicAuthHandler(passwords),
            HTTPDigestAuthHandler(passwords),
            HTTPSHandler(context=tls.make_context()),
        )

    def find_end(self) -> str:
        """The end of the source's redirects; its own address if there are none.

        Raises:
            NotAVideoError: they lead to an address that is not allowed.
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
        """Open a playlist or segment for FFmpeg; a server that does not answer gives an empty file.

        Raises:
            NotAVideoError: the source may not lead there.
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
        except (OSError, HTTPException, ValueError):  # a live source goes on with its next
            return BytesIO()

    def _request(self, address: str, headers: dict[str, str] | None = None) -> HTTPResponse:
        self._reach.check(address)
        given = {"User-Agent": USER_AGENT, **(headers or {})}
        request = Request(_without_user(address), headers=given)  # noqa: S310 (checked above)
        return self._opener.open(request, timeout=self._timeout_seconds)


def _read_moved(response: HTTPResponse) -> Readable:
    """What a request that may have been redirected returned; a playlist gets absolute addresses.

    FFmpeg resolves relative addresses against the address it requested, but they are relative to
    the end of the redirects.
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
    """A response that reads as ended where its connection breaks; `head` was read already."""

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
    """Follows redirects as far as `Reach` allows."""

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
