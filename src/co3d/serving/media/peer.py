"""One visitor over WebRTC: video in, text out over a data channel."""

import asyncio
import time
from collections.abc import Callable

import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

SILENT_SECONDS = 4.0
"""A visitor who has been silent this long is gone: a closed tab and a killed browser say
nothing."""

OPENING_SECONDS = 10.0
LOOK_SECONDS = 0.5
PER_STEP = 2
MOST_BUFFERED = 64 * 1024


class Peer:
    """A connection to a browser.

    Args:
        ice_servers: addresses of STUN and TURN servers.
        rate_hz: frames per second that the network sees. max_pixels: of a picture.
        send_picture: called with a time in seconds and a picture (H, W, 3) uint8.
        on_end: called once, when the connection is over.
    """

    def __init__(
        self,
        ice_servers: list[str],
        rate_hz: float,
        max_pixels: int,
        send_picture: Callable[[float, np.ndarray], None],
        on_end: Callable[[], None],
    ) -> None:
        servers = [RTCIceServer(urls=one) for one in ice_servers]
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._period_seconds = 1 / (rate_hz * PER_STEP)
        self._max_pixels, self._send_picture, self._on_end = max_pixels, send_picture, on_end
        self._channel: RTCDataChannel | None = None
        self._heard_seconds = time.monotonic() + OPENING_SECONDS - SILENT_SECONDS
        self._tasks: list[asyncio.Task[None]] = []
        self._is_over = False
        self._connection.on("track", self._begin)
        self._connection.on("datachannel", self._listen)
        self._connection.on("connectionstatechange", self._look)

    async def answer(self, sdp: str) -> str:
        """Take a browser's offer; return the answer."""
        connection = self._connection
        self._tasks.append(asyncio.ensure_future(self._watch()))
        await connection.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        if not connection.getReceivers():
            raise ValueError("the offer has no video")
        answer = await connection.createAnswer()
        if answer is None:
            raise ValueError("the offer cannot be answered")
        await connection.setLocalDescription(answer)
        return connection.localDescription.sdp

    def say(self, text: str) -> None:
        """Send text, unless the browser cannot take it now."""
        channel = self._channel
        if channel is None or channel.readyState != "open":
            return
        if channel.bufferedAmount < MOST_BUFFERED:
            channel.send(text)

    async def close(self) -> None:
        """End the connection; may be called twice."""
        if self._is_over:
            return
        self._is_over = True
        self._on_end()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        await self._connection.close()

    def _begin(self, track: MediaStreamTrack) -> None:
        if track.kind == "video":
            self._tasks.append(asyncio.ensure_future(self._receive(track)))

    def _listen(self, channel: RTCDataChannel) -> None:
        self._channel = channel

        def hear(word: object) -> None:
            self._heard_seconds = time.monotonic()
            if word == "bye":
                self._tasks.append(asyncio.ensure_future(self.close()))

        channel.on("message", hear)

    def _look(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            self._tasks.append(asyncio.ensure_future(self.close()))

    async def _receive(self, track: MediaStreamTrack) -> None:
        last_seconds = float("-inf")
        try:
            while True:
                frame = await track.recv()
                assert isinstance(frame, VideoFrame)
                self._heard_seconds = time.monotonic()
                if frame.width * frame.height > self._max_pixels:
                    break
                pts_seconds = float(frame.time or 0.0)
                # A quarter of a period early still counts as due, because camera intervals jitter.
                if pts_seconds - last_seconds >= 0.75 * self._period_seconds:
                    last_seconds = pts_seconds
                    self._send_picture(pts_seconds, frame.to_ndarray(format="rgb24"))
        except MediaStreamError:
            pass
        await self.close()

    async def _watch(self) -> None:
        while time.monotonic() - self._heard_seconds < SILENT_SECONDS:
            await asyncio.sleep(LOOK_SECONDS)
        await self.close()
