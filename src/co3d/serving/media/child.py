"""The media process: it parses packets from strangers, and has access to no secret."""

import asyncio
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

from co3d.serving.media.frame_decoder import FrameDecoder
from co3d.serving.media.framed_pipe import FramedPipe
from co3d.serving.media.peer import Peer

MEMORY_BYTES = 8 * 2**30
DECODING_THREADS = 4


def run_media(connection: Connection, ice_servers: list[str], max_pixels: int) -> None:
    """Serve the other end of a pipe until it is closed; the process's main function."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then ends this
    _limit_memory()
    asyncio.run(_Media(connection, ice_servers, max_pixels).run())


def _ignore_late_sends(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Ignore errors of tasks in which aiortc still sends to a visitor who has left."""
    if not isinstance(context.get("exception"), ConnectionError):
        loop.default_exception_handler(context)


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class _Media:
    def __init__(self, connection: Connection, ice_servers: list[str], max_pixels: int) -> None:
        self._connection, self._ice_servers = connection, ice_servers
        self._max_pixels = max_pixels
        self._peers: dict[int, Peer] = {}
        self._decoders: dict[int, FrameDecoder] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pool = ThreadPoolExecutor(DECODING_THREADS)

    async def run(self) -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        loop.set_exception_handler(_ignore_late_sends)

        def take(message: dict[str, Any], content: memoryview) -> None:
            loop.call_soon_threadsafe(self._handle, message, content)

        self._pipe = FramedPipe(self._connection, take, lambda: loop.call_soon_threadsafe(over.set))
        await over.wait()
        os._exit(0)  # does not wait for decoder threads

    def _handle(self, message: dict[str, Any], content: memoryview) -> None:
        do, number = message["do"], message["id"]
        if do == "offer":
            self._start(self._accept(number, message["sdp"], message["rate_hz"]))
        elif do == "open":
            self._decoders[number] = FrameDecoder(message["codec"], self._max_pixels)
        elif do == "decode":
            self._start(self._decode(number, message, bytes(content)))
        elif do == "say" and number in self._peers:
            self._peers[number].say(message["text"])
        elif do == "close":
            self._decoders.pop(number, None)
            if number in self._peers:
                self._start(self._peers[number].close())

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, number: int, sdp: str, rate_hz: float) -> None:
        def send_picture(pts_seconds: float, picture: Any) -> None:
            height, width, _ = picture.shape
            head = {
                "is": "picture",
                "id": number,
                "pts_seconds": pts_seconds,
                "height": height,
                "width": width,
            }
            self._pipe.send(head, picture.tobytes(), may_be_lost=True)

        def on_end() -> None:
            self._peers.pop(number, None)
            self._pipe.send({"is": "gone", "id": number})

        peer = self._peers[number] = Peer(
            self._ice_servers, rate_hz, self._max_pixels, send_picture, on_end
        )
        try:
            answer = await peer.answer(sdp)
        except Exception as error:  # noqa: BLE001 (a stranger's offer may raise anything)
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            self._pipe.send({"is": "refused", "id": number, "reason": reason})
            await peer.close()
            return
        self._pipe.send({"is": "answer", "id": number, "sdp": answer})

    async def _decode(self, number: int, message: dict[str, Any], data: bytes) -> None:
        decoder = self._decoders.get(number)
        answer: dict[str, Any] = {"is": "decoded", "id": number}
        picture = None
        if decoder is not None:
            loop = asyncio.get_running_loop()
            try:
                picture = await loop.run_in_executor(
                    self._pool, decoder.decode, data, message["is_wanted"]
                )
            except ValueError as error:
                answer["reason"] = str(error)
        if picture is None:
            self._pipe.send(answer)
            return
        height, width, _ = picture.shape
        self._pipe.send({**answer, "height": height, "width": width}, picture.tobytes())
