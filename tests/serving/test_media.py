"""What the media process decodes, and what happens to visitors when it dies."""

import asyncio
import json
import multiprocessing
import os
import signal
import threading
import time
from fractions import Fraction

import av
import numpy as np
import pytest
from anyio import fail_after

from co3d.errors import NotAVideoError
from co3d.serving.live_session import HEADER
from co3d.serving.media.frame_decoder import FrameDecoder
from co3d.serving.media.framed_pipe import MOST_WAITING, FramedPipe
from co3d.serving.media.process import read_picture
from co3d.serving.settings import ServingLimits
from support.serving import run_service, talk

SIZE = (96, 64)


def encode(count: int, codec: str = "libvpx") -> list[bytes]:
    """Frames of noise, as a browser encodes them."""
    context = av.CodecContext.create(codec, "w")
    context.width, context.height = SIZE
    context.pix_fmt, context.time_base = "yuv420p", Fraction(1, 8)
    context.options = {"deadline": "realtime", "lag-in-frames": "0"}
    packets = []
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (*SIZE[::-1], 3), np.uint8)
        frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
        frame.pts = number
        packets += [bytes(packet) for packet in context.encode(frame)]
    return packets


def test_encoded_frames_become_pictures():
    decoder = FrameDecoder("vp8", 100_000)
    first, second, third = encode(3)
    picture = decoder.decode(first, True)
    assert picture is not None
    assert picture.shape == (64, 96, 3)
    assert decoder.decode(second, False) is None
    assert decoder.decode(third, True) is not None


def test_damaged_and_too_large_frames_are_refused():
    with pytest.raises(ValueError, match="cannot be decoded"):
        FrameDecoder("vp8", 100_000).decode(b"nothing of the kind", True)
    with pytest.raises(ValueError, match=r"too large|cannot be decoded"):
        FrameDecoder("vp8", 64).decode(encode(1)[0], True)


@pytest.mark.parametrize("size", [(0, 4), (4, 0), (4, 5), (-4, -4)])
def test_a_picture_whose_size_differs_from_its_header_is_refused(size):
    head = {"height": size[0], "width": size[1]}
    with pytest.raises(NotAVideoError):
        read_picture(head, memoryview(bytes(48)))


def test_messages_pass_a_pipe_and_its_end_is_reported():
    ours, theirs = multiprocessing.Pipe()
    taken, over = [], threading.Event()
    left = FramedPipe(ours, lambda *_: None, lambda: None)
    right = FramedPipe(theirs, lambda head, content: taken.append((head, bytes(content))), over.set)
    left.send({"do": "a"}, b"content")
    left.send({"do": "b"})
    for _ in range(1000):
        if len(taken) == 2:
            break
        time.sleep(0.005)
    assert taken == [({"do": "a"}, b"content"), ({"do": "b"}, b"")]
    left.close()
    assert over.wait(5)
    right.close()


def test_a_pipe_that_nobody_reads_keeps_few_messages():
    ours, theirs = multiprocessing.Pipe()
    pipe = FramedPipe(ours, lambda *_: None, lambda: None)
    for number in range(4 * MOST_WAITING):
        pipe.send({"number": number}, bytes(1 << 16), may_be_lost=True)
    assert len(pipe._waiting) <= MOST_WAITING
    theirs.close()
    pipe.close()


@pytest.mark.slow
def test_visitors_over_webcodecs_and_webrtc_and_the_death_of_their_process(open_server):
    service = open_server(limits=ServingLimits(sessions=2))
    service.media.start()  # as `run_server` does: who is silent meanwhile for 5 s has gone
    frames = encode(32)
    with run_service(service) as url:
        with talk(url, "/v1/live") as socket:
            socket.send_json({"type": "start", "format": "vp8"})
            assert socket.receive_json()["type"] == "ready"
            for number, frame in enumerate(frames[:16]):
                socket.send(HEADER.pack(number / 8) + frame)
                time.sleep(0.05)
            messages = [socket.receive_json() for _ in range(8)]
            assert [one["type"] for one in messages] == ["prediction"] * 8
            os.kill(service.media._process.pid, signal.SIGKILL)
            socket.send(HEADER.pack(4.0) + frames[16])
            while (message := socket.receive_json())["type"] == "prediction":
                pass
            assert message["error"] == "SandboxError"
        predictions, seconds = asyncio.run(call_by_webrtc(service))
        assert len(predictions) >= 3
        assert {one["label"] for one in predictions} <= {
            None,
            *service.engine.labels,
        }
        assert seconds < 5  # by then the place of a visitor who vanished is free
    assert service.media.deaths == 1


async def call_by_webrtc(service) -> tuple[list[dict], float]:
    """Send noise like a browser, then fall silent; returns predictions and the silent seconds."""
    from aiortc import RTCPeerConnection, RTCSessionDescription
    from aiortc.mediastreams import VideoStreamTrack

    class Noise(VideoStreamTrack):
        async def recv(self):
            pts, time_base = await self.next_timestamp()
            pixels = np.random.default_rng(pts).integers(0, 255, (*SIZE[::-1], 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = pts, time_base
            return frame

    peer, predictions, enough = RTCPeerConnection(), [], asyncio.Event()
    channel = peer.createDataChannel("predictions")

    @channel.on("message")
    def take(text: str) -> None:
        predictions.append(json.loads(text))
        if len(predictions) >= 3:
            enough.set()

    sender = peer.addTrack(Noise())
    await peer.setLocalDescription(await peer.createOffer())
    answer = await service.rtc.accept(peer.localDescription.sdp, 60.0)
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    with fail_after(20):
        await enough.wait()
    assert len(service.visits) == 1
    sender.replaceTrack(None)
    began = time.monotonic()
    while len(service.visits):
        await asyncio.sleep(0.05)
    seconds = time.monotonic() - began
    await peer.close()
    with pytest.raises(NotAVideoError):
        await service.rtc.accept("v=0\r\nnothing", 60.0)
    while service.visits:
        await asyncio.sleep(0.05)
    return predictions, seconds
