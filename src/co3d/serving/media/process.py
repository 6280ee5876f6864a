"""The server's side of the media process."""

import asyncio
import itertools
import multiprocessing
import threading
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
from anyio import fail_after

from co3d.errors import NotAVideoError, SandboxError
from co3d.serving.media.framed_pipe import FramedPipe

ANSWER_SECONDS = 10.0
JOIN_SECONDS = 2.0
Listener = Callable[[dict[str, Any], memoryview], None]
GONE: dict[str, Any] = {"is": "gone"}


class MediaProcess:
    """Starts the media process for the first visitor who needs it, and restarts it if it dies.

    Args:
        ice_servers: for WebRTC. max_pixels: of a picture.

    Attributes:
        deaths: times that the process died; its end in `close` does not count.
    """

    def __init__(self, ice_servers: list[str], max_pixels: int) -> None:
        self.deaths = 0
        self._ice_servers, self._max_pixels = ice_servers, max_pixels
        self._numbers = itertools.count(1)
        self._listeners: dict[int, Listener] = {}
        self._lock = threading.Lock()
        self._process: BaseProcess | None = None
        self._pipe: FramedPipe | None = None
        self._is_closing = False

    def join(self, listener: Listener) -> int:
        """Register the listener for a new visitor's messages; returns the visitor's number."""
        number = next(self._numbers)
        self._listeners[number] = listener
        return number

    def leave(self, number: int) -> None:
        """Forget a visitor, in the process too."""
        if self._listeners.pop(number, None) is not None:
            self.end(number)

    def end(self, number: int) -> None:
        """End a visitor's connection; the listener is told once it is closed."""
        if self._pipe is not None:
            self._pipe.send({"do": "close", "id": number})

    def send(self, message: dict[str, Any], content: bytes = b"") -> None:
        """Send the process a message; starts it if necessary."""
        self.start().send(message, content)

    def say(self, number: int, text: str) -> None:
        """Send text to a visitor; it may be lost."""
        pipe = self._pipe
        if pipe is not None:
            pipe.send({"do": "say", "id": number, "text": text}, may_be_lost=True)

    def close(self) -> None:
        """End the process."""
        self._is_closing = True
        with self._lock:
            process, pipe = self._process, self._pipe
            self._process = self._pipe = None
        if pipe is not None:
            pipe.close()
        if process is not None:
            process.join(JOIN_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()

    def start(self) -> FramedPipe:
        """Start the process if it does not run; returns the pipe to it."""
        with self._lock:
            if self._pipe is not None:
                return self._pipe
            from co3d.serving.media.child import run_media  # imports aiortc

            context = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe()
            process = self._process = context.Process(
                target=run_media,
                args=(theirs, self._ice_servers, self._max_pixels),
                name="co3d media",
                daemon=True,
            )
            process.start()
            theirs.close()
            self._pipe = FramedPipe(ours, self._hand_on, lambda: self._handle_death(process))
            return self._pipe

    def _hand_on(self, message: dict[str, Any], content: memoryview) -> None:
        listener = self._listeners.get(message.get("id", 0))
        if listener is not None:
            listener(message, content)

    def _handle_death(self, process: BaseProcess) -> None:
        """Tell the listeners of all visitors in a process that died."""
        with self._lock:
            if self._process is process:
                self._process = self._pipe = None
        if self._is_closing:
            return
        self.deaths += 1
        process.kill()
        process.join(JOIN_SECONDS)
        for listener in list(self._listeners.values()):
            listener(GONE, memoryview(b""))


def read_picture(message: dict[str, Any], content: memoryview) -> np.ndarray:
    """The picture in a message's content; NotAVideoError if its size does not match."""
    height, width = int(message["height"]), int(message["width"])
    if height < 1 or width < 1 or len(content) != height * width * 3:
        raise NotAVideoError(f"got {len(content)} bytes for a picture of {width}x{height}")
    return np.frombuffer(content, np.uint8).reshape(height, width, 3).copy()


class EncodedDecoding:
    """Decodes frames that a visitor's browser encoded, in order.

    Args:
        media: the process that decodes. codec: of the frames.
    """

    def __init__(self, media: MediaProcess, codec: str) -> None:
        self._media, self._loop = media, asyncio.get_running_loop()
        self._answer: asyncio.Future[tuple[dict[str, Any], memoryview]] | None = None
        self._number = media.join(self._on_message)
        self._opening: dict[str, Any] | None = {"do": "open", "id": self._number, "codec": codec}

    async def decode(
        self, data: bytes, take: Callable[[np.ndarray, None], None], *, is_wanted: bool
    ) -> None:
        """Pass a frame's picture to `take`, in another thread, if there is one and it is wanted.

        Raises:
            NotAVideoError: the frame is damaged.
            SandboxError: the process died.
            Co3dError: `take` raised it.
        """
        self._answer = self._loop.create_future()
        if self._opening is not None:
            # Starting the process takes a while, during which others are served.
            await asyncio.to_thread(self._media.send, self._opening)
            self._opening = None
        self._media.send({"do": "decode", "id": self._number, "is_wanted": is_wanted}, data)
        try:
            with fail_after(ANSWER_SECONDS):
                message, content = await self._answer
        except TimeoutError as error:
            raise SandboxError("the process that decodes does not answer; start again") from error
        if "reason" in message:
            raise NotAVideoError(f"cannot take a frame: {message['reason']}; send a key frame")
        if "width" in message:
            await asyncio.to_thread(take, read_picture(message, content), None)

    async def close(self) -> None:
        """Free the decoder."""
        self._media.leave(self._number)

    def _on_message(self, message: dict[str, Any], content: memoryview) -> None:
        def settle() -> None:
            if self._answer is None or self._answer.done():
                return
            if message["is"] == "gone":
                self._answer.set_exception(
                    SandboxError("the process that decodes died; start again")
                )
            else:
                self._answer.set_result((message, content))

        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(settle)
