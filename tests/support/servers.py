"""HTTP servers on the loopback interface that play cameras."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import ThreadingTCPServer

Answer = Callable[[BaseHTTPRequestHandler, int], None]


@contextmanager
def serve(answer: Answer) -> Iterator[str]:
    """Serve GET requests; `answer` gets the handler and the number of the request, from 0."""
    requests = iter(range(1_000_000))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            number = next(requests)
            try:
                answer(self, number)
            except OSError:  # the client has gone
                self.close_connection = True

        def log_message(self, *args) -> None:
            pass

    with run_server(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"http://127.0.0.1:{port}/video"


@contextmanager
def run_server(server: ThreadingTCPServer | ThreadingHTTPServer) -> Iterator[int]:
    """Let a server answer in threads of its own; its port."""
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(handler: BaseHTTPRequestHandler, data: bytes, length: int | None = None) -> None:
    """Answer with this body; no Content-Length unless a length is given."""
    handler.send_response(200)
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()
    handler.wfile.write(data)


def play(handler: BaseHTTPRequestHandler, data: bytes, over: threading.Event) -> None:
    """Answer with this video over three seconds, then stay silent until `over` is set.

    The first fifth is sent at once, since opening a video takes many frames.
    """
    send(handler, data[: len(data) // 5])
    send_slowly(handler, data[len(data) // 5 :], over, 3.0)
    over.wait(30)


def send_slowly(
    handler: BaseHTTPRequestHandler, data: bytes, over: threading.Event, seconds: float
) -> None:
    """Send more of a video, until `over` is set.

    Of a video that comes at once, a busy machine drops all frames but the last few, and no others
    follow.
    """
    parts = round(50 * seconds)
    for number in range(parts):
        first, last = (len(data) * n // parts for n in (number, number + 1))
        handler.wfile.write(data[first:last])
        if over.wait(seconds / parts):
            return


class VideoHandler(BaseHTTPRequestHandler):
    """Answers each GET with a video."""

    body = b""

    def do_GET(self) -> None:
        try:
            send(self, self.body, len(self.body))
        except OSError:  # the client has gone
            self.close_connection = True

    def log_message(self, *args) -> None:
        pass
