"""Packets of a video stream as bytes that processes can exchange, and clips made of them."""

import io
from collections.abc import Iterable
from dataclasses import dataclass

import av
from av.video.stream import VideoStream

from co3d.video.segment import stamp_packet

PACKET_BYTES = 512
"""The approximate memory that a packet takes besides its data."""


@dataclass(frozen=True, eq=False)
class StreamHead:
    """A video stream's header: its codec and picture format. It outlives the connection.

    Attributes:
        sample: a Matroska file with one packet of the stream.
        extradata: codec parameters in the form that the stream's packets need; Matroska stores
            them in another form.
    """

    sample: bytes
    extradata: bytes | None


@dataclass(frozen=True, eq=False)
class KeptPacket:
    """A copy of a packet, independent of its container.

    Attributes:
        data: the bytes for the decoder.
        dts_seconds, shown_after_seconds: see `Segment.add`.
        received_seconds: when it came, Unix time; None for files.
    """

    data: bytes
    is_keyframe: bool
    dts_seconds: float
    shown_after_seconds: float
    received_seconds: float | None

    @property
    def shown_seconds(self) -> float:
        """When its picture is shown, on the source's clock."""
        return self.dts_seconds + self.shown_after_seconds

    @property
    def moment_seconds(self) -> float:
        """When it arrived, Unix time; for files, when its picture is shown."""
        return self.shown_seconds if self.received_seconds is None else self.received_seconds

    @property
    def bytes_taken(self) -> int:
        """In memory."""
        return len(self.data) + PACKET_BYTES


class StreamCopy:
    """A stream's header, copied while its connection is open."""

    def __init__(self, stream: VideoStream) -> None:
        self._container = av.open(io.BytesIO(), "w", format="matroska")
        self._stream = self._container.add_stream_from_template(stream, opaque=True)
        extradata = stream.codec_context.extradata
        self._extradata = None if extradata is None else bytes(extradata)

    def describe(self, first: KeptPacket) -> StreamHead:
        """The stream's head, with `first` as its sample packet.

        Raises:
            FFmpegError, ValueError: Matroska cannot hold such a stream.
        """
        return StreamHead(_mux(self._stream, self._extradata, (first,)), self._extradata)


def make_clip(head: StreamHead, packets: Iterable[KeptPacket]) -> bytes:
    """A Matroska file of these packets that begins at time 0; they are not re-encoded.

    Args:
        head: of the packets' stream. packets: in decoding order.

    Raises:
        FFmpegError, ValueError: Matroska cannot hold them.
    """
    with av.open(io.BytesIO(head.sample), format="matroska") as sample:
        return _mux(sample.streams.video[0], head.extradata, packets)


def _mux(template: VideoStream, extradata: bytes | None, packets: Iterable[KeptPacket]) -> bytes:
    file, start_seconds = io.BytesIO(), None
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream_from_template(template, opaque=True)
        if extradata is not None:
            stream.codec_context.extradata = extradata
        for kept in packets:
            start_seconds = kept.dts_seconds if start_seconds is None else start_seconds
            packet = av.Packet(kept.data)
            packet.is_keyframe = kept.is_keyframe
            seconds = kept.dts_seconds - start_seconds
            container.mux(stamp_packet(packet, stream, seconds, kept.shown_after_seconds))
    return file.getvalue()
