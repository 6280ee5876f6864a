"""A camera: a source, and how to read and label it."""

from dataclasses import dataclass
from pathlib import Path

from co3d.engine.track import Policy
from co3d.video import VideoReader, hide_password, read_video
from co3d.video.allowance import Allowance
from co3d.video.certificates import TlsMode
from co3d.video.container import RtspTransport
from co3d.video.framing import Crop, Flip
from co3d.video.packet_ring import PacketRing
from co3d.video.reader import Gap
from co3d.video.source_state import StateListener


@dataclass(frozen=True)
class Camera:
    """A source, and how to read and label it.

    Attributes:
        name: unique among running cameras.
        source: as for `read_video`; its repr hides the password.
        rate_hz: frames per second that the network sees; None for the network's own.
        policy: as for `read_video`; live sources join the engine with it.
        priority: as for `Engine.join`.
        gap, rotate, flip, crop, reconnect_seconds, rtsp_transport, poll_hz, folder_rate_hz, decode,
            tls, ca_file: as for `read_video`.
        top_k, threshold, smooth_seconds: as for `Engine.join`.
        allowance: as for `read_video`.
        regions: further crops of its pictures, after `rotate` and `flip`. The network sees each in
            a track of its own (see `name_region`), which costs as much as another camera's track.
    """

    name: str
    source: str
    rate_hz: float | None = None
    policy: Policy | None = None
    priority: int = 0
    gap: Gap = "reset"
    rotate: int = 0
    flip: Flip | None = None
    crop: Crop | None = None
    reconnect_seconds: float | None = None
    rtsp_transport: RtspTransport = "auto"
    poll_hz: float | None = None
    folder_rate_hz: float = 30.0
    decode: str = "cpu"
    tls: TlsMode = "verify"
    ca_file: str | None = None
    top_k: int | None = None
    threshold: float = 0.0
    smooth_seconds: float = 0.0
    allowance: Allowance | None = None
    regions: tuple[Crop, ...] = ()

    def read(
        self,
        rate_hz: float,
        on_state: StateListener | None = None,
        *,
        ring: PacketRing | None = None,
        record: Path | None = None,
        record_seconds: float = 60.0,
        decoder_threads: int | None = 1,
        decodes_ahead: bool = False,
    ) -> VideoReader:
        """Open the source; with regions, pictures are not cropped. See `read_video` for errors."""
        return read_video(
            self.source,
            rate_hz=rate_hz,
            policy=self.policy,
            gap=self.gap,
            rotate=self.rotate,
            flip=self.flip,
            crop=None if self.regions else self.crop,
            ring=ring,
            reconnect_seconds=self.reconnect_seconds,
            rtsp_transport=self.rtsp_transport,
            poll_hz=self.poll_hz,
            folder_rate_hz=self.folder_rate_hz,
            on_state=on_state,
            record=record,
            record_seconds=record_seconds,
            decoder_threads=decoder_threads,
            decodes_ahead=decodes_ahead,
            allowance=self.allowance,
            decode=self.decode,
            tls=self.tls,
            ca_file=self.ca_file,
        )

    def __repr__(self) -> str:
        return f"Camera({self.name!r}, {hide_password(self.source)!r})"
