"""Which addresses that somebody else chose may be opened, by scheme and network."""

import http.client
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from co3d.errors import NotAVideoError, OptionError
from co3d.video.address import URL_SCHEMES, hide_password
from co3d.video.certificates import TlsSettings, refuse_certificate

MOST_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Pinned:
    """An address with its IP resolved, so that a later DNS answer cannot redirect it.

    Attributes:
        address: with the host's IP in place of its name.
        name: the name. host: the same with its port, as HTTP states it.
    """

    address: str
    name: str
    host: str


class Allowance:
    """Which addresses may be opened: each is resolved, checked, and opened by its IP.

    A name may resolve to another IP the next time, so the checked IP is the one connected to, and
    every attempt to connect checks again.

    Args:
        places: each a scheme and a network, such as `rtsp://10.0.0.0/8`.

    Raises:
        OptionError: one of them is not such a place.
    """

    def __init__(self, places: Iterable[str]) -> None:
        self._places = tuple(map(_read_place, places))

    def check_scheme(self, address: str) -> None:
        """Raise NotAVideoError unless some place has the scheme of an address."""
        scheme = _split(address).scheme.lower()
        if scheme not in {allowed for allowed, _ in self._places}:
            known = ", ".join(sorted({allowed for allowed, _ in self._places})) or "none at all"
            raise NotAVideoError(
                f"cannot open {hide_password(address)}: its scheme is not allowed; allowed are "
                f"{known} (see --allow-source)"
            )

    def pin(self, address: str) -> Pinned:
        """Resolve and check an address.

        Raises:
            NotAVideoError: it may not be opened; the message does not reveal the IP.
        """
        parts = _split(address)
        self.check_scheme(address)
        scheme, name = parts.scheme.lower(), parts.hostname or ""
        refusal = NotAVideoError(
            f"cannot open {hide_password(address)}: it leads to no network that is allowed for "
            f"{scheme} (see --allow-source)"
        )
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            port = parts.port
        except (OSError, UnicodeError, ValueError) as error:
            raise refusal from error
        numbers = [_read_number(str(place[0])) for *_, place in found]
        networks = [network for allowed, network in self._places if allowed == scheme]
        if not numbers or not all(any(n in network for network in networks) for n in numbers):
            raise refusal
        shown = f"[{numbers[0]}]" if isinstance(numbers[0], IPv6Address) else str(numbers[0])
        user, at, host = parts.netloc.rpartition("@")
        place = shown if port is None else f"{shown}:{port}"
        return Pinned(urlunsplit(parts._replace(netloc=f"{user}{at}{place}")), name, host)

    def follow(self, address: str, timeout_seconds: float, tls: TlsSettings) -> Pinned:
        """The end of an HTTP address's redirects; each redirect is checked like the first address.

        Raises:
            NotAVideoError: a redirect leads where it may not, or there are too many.
            CertificateError: a certificate on the way does not verify.
            OSError: nobody answers.
        """
        for _ in range(MOST_REDIRECTS):
            pinned = self.pin(address)
            location = _ask(pinned, timeout_seconds, tls)
            if location is None:
                return pinned
            address = urljoin(address, location)
        raise NotAVideoError(
            f"cannot open {hide_password(address)}: more than {MOST_REDIRECTS} redirects"
        )


def _read_place(place: str) -> tuple[str, Network]:
    scheme, _, network = place.partition("://")
    try:
        if scheme not in URL_SCHEMES:
            raise ValueError(f"got scheme {scheme!r}, expected {', '.join(URL_SCHEMES)}")
        return scheme, ip_network(network.strip("[]"))
    except ValueError as error:
        raise OptionError(
            f"cannot allow sources {place!r}: {error}; expected one such as rtsp://10.0.0.0/8"
        ) from error


def _read_number(text: str) -> object:
    number = ip_address(text.split("%")[0])
    return (isinstance(number, IPv6Address) and number.ipv4_mapped) or number


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError as error:
        raise NotAVideoError(
            f"cannot open {hide_password(address)}: it is no address ({error}); check it"
        ) from error


class _PinnedConnection(http.client.HTTPSConnection):
    """A connection to an IP whose certificate must match a host name."""

    def __init__(self, pinned: Pinned, number: str, tls: TlsSettings, **options: Any) -> None:
        self._own_context = tls.make_context()
        super().__init__(number, context=self._own_context, **options)
        self._name = pinned.name

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._own_context.wrap_socket(self.sock, server_hostname=self._name)


def _ask(pinned: Pinned, timeout_seconds: float, tls: TlsSettings) -> str | None:
    """The address that an HTTP address redirects to; None if it does not redirect."""
    parts = urlsplit(pinned.address)
    host = str(parts.hostname)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = _PinnedConnection(pinned, host, tls, port=parts.port, timeout=timeout_seconds)
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=timeout_seconds)
    try:
        path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        connection.request("GET", path, headers={"Host": pinned.host})
        answer = connection.getresponse()
        return answer.headers.get("Location") if answer.status in REDIRECTS else None
    except ssl.SSLCertVerificationError as error:
        raise refuse_certificate(f"{parts.scheme}://{pinned.host}", error) from error
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()
