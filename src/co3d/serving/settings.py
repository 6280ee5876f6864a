"""The server's settings, and which of them it refuses to start with."""

from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from co3d.errors import OptionError

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
DEFAULT_PORT = 8700


@dataclass(frozen=True)
class ServingLimits:
    """Limits on what clients may use; more is refused or dropped, and counted.

    Attributes:
        body_bytes: of a request, except snapshots. snapshot_bytes: of a snapshot to restore.
        message_bytes: of a WebSocket message, that is of one encoded picture.
        pixels: of a picture that a client sends.
        requests_per_second, request_burst: per client address.
        sessions: visitors whose video is labelled at once. session_seconds: how long each may last.
        idle_seconds: how long a session may be silent.
        pictures_per_second: that a session may send.
        waiting_messages: queued for one client; further ones push out the oldest.
        stuck_seconds: how long a client may read nothing before it is disconnected.
        body_seconds: how long a request's body may take to arrive.
        streams: cameras, configured and added.
        subscribers: clients that follow predictions or events.
    """

    body_bytes: int = 64 * 1024
    snapshot_bytes: int = 64 * 2**20
    message_bytes: int = 4 * 2**20
    pixels: int = 8_300_000
    requests_per_second: float = 200.0
    request_burst: int = 600
    sessions: int = 32
    session_seconds: float = 4 * 3600.0
    idle_seconds: float = 5.0
    pictures_per_second: float = 62.0
    waiting_messages: int = 64
    stuck_seconds: float = 10.0
    body_seconds: float = 20.0
    streams: int = 256
    subscribers: int = 256


@dataclass(frozen=True)
class ServerSettings:
    """How the server is reached, and which clients it trusts.

    Attributes:
        host, port: where it listens; port 0 takes a free one.
        fleet: a fleet file; None to label only visitors' own video.
        tokens: a file of hashed tokens (see `co3d.serving.tokens`).
        certificate, key: PEM files for TLS.
        public_url: the address at which a reverse proxy on this machine shows the server, or None.
        allowed_sources: which sources operators may add, as `rtsp://10.0.0.0/8`; default none.
        ice_servers: for WebRTC, as `stun:host:port`; default none.
        state: a folder for what must survive a restart; None saves nothing.
        events: the folder of an outbox whose events are shown; None for none.
        version: of co3d, which the API states.
        limits: what clients may use.

    Raises:
        OptionError: strangers could reach the server unprotected, or a value is invalid.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    fleet: Path | None = None
    tokens: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    public_url: str | None = None
    allowed_sources: tuple[str, ...] = ()
    ice_servers: tuple[str, ...] = ()
    state: Path | None = None
    events: Path | None = None
    version: str = ""
    limits: ServingLimits = field(default_factory=ServingLimits)

    def __post_init__(self) -> None:
        if not 0 <= self.port < 1 << 16:
            raise OptionError(f"cannot serve on port {self.port}: expected 0 to 65535")
        if (self.certificate is None) != (self.key is None):
            raise OptionError("cannot serve TLS: give --tls-certificate and --tls-key together")
        if self.public_url is not None:
            parts = urlsplit(self.public_url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
                raise OptionError(
                    f"cannot serve behind {self.public_url!r}: expected the address of the proxy "
                    "as browsers see it, without a path, such as https://cameras.example.org"
                )
        if self.is_open and self.tokens is None:
            raise OptionError(
                f"cannot serve on {self.host} without tokens, since others can reach it; make one "
                "with `co3d token NAME --role viewer --tokens tokens.json` and give --tokens"
            )
        if not self.is_loopback and self.certificate is None and self.public_url is None:
            raise OptionError(
                f"cannot serve on {self.host} without TLS, since tokens would pass in clear; give "
                "--tls-certificate and --tls-key, or --behind-proxy with the address of a proxy "
                "that has TLS"
            )

    @property
    def is_loopback(self) -> bool:
        """Whether it listens on loopback only."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_open(self) -> bool:
        """Whether it can be reached by others than this machine's users."""
        return not self.is_loopback or self.public_url is not None

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach it by HTTPS."""
        if self.public_url is not None:
            return self.public_url.startswith("https://")
        return self.certificate is not None

    @property
    def allowed_hosts(self) -> frozenset[str] | None:
        """Host names without ports to answer to; None for any, when tokens protect the server."""
        if self.public_url is not None:
            return frozenset({str(urlsplit(self.public_url).hostname), *LOOPBACK_NAMES})
        return frozenset(LOOPBACK_NAMES) | {self.host} if self.is_loopback else None
