"""Starts the server and runs it until a signal ends it."""

import gc
import socket
import threading
from collections.abc import Callable

import uvicorn

from co3d.errors import OptionError
from co3d.serving.app import make_app
from co3d.serving.patient_protocol import PatientProtocol
from co3d.serving.service import Service
from co3d.serving.settings import ServerSettings

ENDING_SECONDS = 3
KEEP_ALIVE_SECONDS = 30
PING_SECONDS = 20.0
MOST_CONNECTIONS = 1000


def open_socket(settings: ServerSettings) -> socket.socket:
    """Listen where the settings say.

    Raises:
        OptionError: the address is taken, or is not this machine's.
    """
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.set_inheritable(False)
    except OSError as error:
        raise OptionError(
            f"cannot serve on {settings.host} port {settings.port}: {error.strerror}; "
            "choose another --port"
        ) from error
    return listener


def find_url(settings: ServerSettings, listener: socket.socket) -> str:
    """The address under which browsers reach a server that listens."""
    if settings.public_url is not None:
        return settings.public_url.rstrip("/") + "/"
    host, port = settings.host, listener.getsockname()[1]
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.is_secure else 'http'}://{host}:{port}/"


def run_server(
    service: Service, listener: socket.socket, on_ready: Callable[[], None] | None = None
) -> None:
    """Answer until SIGINT or SIGTERM; the service is closed then."""
    try:
        # Starting that process takes a second, which no visitor need wait for.
        threading.Thread(target=service.media.start, name="co3d starts media", daemon=True).start()
        server = make_server(service, on_ready)
        # What is there stays. Without it collections are small, and come while visitors leave;
        # else the rubbish of a thousand visitors waited for one.
        gc.collect()
        gc.freeze()
        server.run(sockets=[listener])
    finally:
        service.close()
        listener.close()


def make_server(service: Service, on_ready: Callable[[], None] | None = None) -> "Server":
    """A server that answers with a service, and leaves it open."""
    settings = service.settings
    config = uvicorn.Config(
        make_app(service),
        http=PatientProtocol,
        ws="websockets-sansio",
        ws_max_size=settings.limits.message_bytes,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        ws_per_message_deflate=False,
        proxy_headers=settings.public_url is not None,
        forwarded_allow_ips="127.0.0.1,::1",
        server_header=False,
        access_log=False,
        log_level="warning",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=ENDING_SECONDS,
        limit_concurrency=MOST_CONNECTIONS,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.key,
    )
    return Server(config, service, on_ready)


class Server(uvicorn.Server):
    """Uvicorn's server, which says when it is ready."""

    def __init__(
        self, config: uvicorn.Config, service: Service, on_ready: Callable[[], None] | None
    ) -> None:
        super().__init__(config)
        self._service, self._on_ready = service, on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        if self._on_ready is not None:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn; who follows events is let go first."""
        self._service.is_ending = True
        await super().shutdown(sockets)
