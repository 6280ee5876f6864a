"""Start the server and run it until a signal ends it."""

import gc
import socket
import threading
from collections.abc import Callable

import uvicorn

from co3d.errors import OptionError
from co3d.serving.app import make_app
from co3d.serving.head_timeout import HeadTimeoutProtocol
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
    """The URL at which browsers reach a listening server."""
    if settings.public_url is not None:
        return settings.public_url.rstrip("/") + "/"
    host, port = settings.host, listener.getsockname()[1]
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.is_secure else 'http'}://{host}:{port}/"


def run_server(
    service: Service, listener: socket.socket, on_ready: Callable[[], None] | None = None
) -> None:
    """Serve until SIGINT or SIGTERM, then close the service."""
    try:
        # Starting the media process takes a second, which no visitor should wait for.
        threading.Thread(target=service.media.start, name="co3d starts media", daemon=True).start()
        server = make_server(service, on_ready)
        # Freezing keeps later collections small enough to run often; otherwise the garbage of a
        # thousand visitors accumulated until a full collection.
        gc.collect()
        gc.freeze()
        server.run(sockets=[listener])
    finally:
        gc.unfreeze()  # else packages (Triton) report what is frozen as leaked when Python ends
        service.close()
        listener.close()


def make_server(service: Service, on_ready: Callable[[], None] | None = None) -> "Server":
    """A server that answers from a service, which it does not close."""
    settings = service.settings
    config = uvicorn.Config(
        make_app(service),
        http=HeadTimeoutProtocol,
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
    """Uvicorn's server, with a callback when it is ready."""

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
        """See uvicorn; before that, connections of clients that follow events are ended."""
        self._service.is_ending = True
        await super().shutdown(sockets)
