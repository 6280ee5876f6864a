"""What a video source may open in turn: file formats, protocols, further addresses.

A playlist names other files, and a server may redirect its client. Nothing that a stranger wrote
may lead to the user's files, nor to a network nearer to this machine than where it came from.
"""

import socket
from enum import IntEnum
from ipaddress import IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

from co3d.errors import NotAVideoError
from co3d.video.address import hide_password

VIDEO_FORMATS = (
    *("3gp", "apng", "apv", "asf", "av1", "avi", "avs2", "avs3", "cavsvideo", "cine", "dhav"),
    *("dirac", "dnxhd", "dv", "evc", "flic", "flv", "gif", "gxf", "h261", "h263", "h264", "hevc"),
    *("ifv", "ingenient", "ivf", "ivr", "live_flv", "m4v", "matroska", "mjpeg", "mjpeg_2000"),
    *("mov", "mp4", "mpeg", "mpegts", "mpegvideo", "mpjpeg", "mxf", "nsv", "nut", "nuv", "obu"),
    *("ogg", "pva", "r3d", "rm", "ser", "smjpeg", "swf", "ty", "vc1", "vc1test", "vvc", "webm"),
    *("webp", "wtv", "yuv4mpegpipe"),
)
PICTURE_FORMATS = (
    *("bmp_pipe", "dpx_pipe", "exr_pipe", "gif_pipe", "hdr_pipe", "ico", "j2k_pipe", "jpeg_pipe"),
    *("jpegls_pipe", "jpegxl_anim", "jpegxl_pipe", "jpegxs_pipe", "pam_pipe", "pbm_pipe"),
    *("pcx_pipe", "pgm_pipe", "png_pipe", "ppm_pipe", "psd_pipe", "qoi_pipe", "sgi_pipe"),
    *("sunrast_pipe", "tiff_pipe", "webp_pipe", "xbm_pipe", "xpm_pipe", "xwd_pipe"),
)
SOUND_FORMATS = (
    *("aac", "ac3", "aiff", "amr", "ape", "au", "caf", "dts", "eac3", "flac", "mp3", "tta", "w64"),
    *("wav", "wv"),
)
"""Text formats: they hold no video, and the error says so."""

FORMATS = ",".join((*VIDEO_FORMATS, *PICTURE_FORMATS, *SOUND_FORMATS))
"""FFmpeg's demuxers of files that contain their own media; none opens another file."""

PLAYLIST = "hls"
"""The only demuxer that opens files which a file names, and only over HTTP: see `http_files`."""

FILE_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
MEMORY_OPTIONS = {"protocol_whitelist": "none", "format_whitelist": FORMATS}
HTTP_PROTOCOLS = "http,https,httpproxy,tcp,tls"

NETWORK_OPTIONS = {
    "http": {"protocol_whitelist": HTTP_PROTOCOLS, "format_whitelist": FORMATS},
    "rtmp": {"protocol_whitelist": "rtmp,rtmps,tcp,tls", "format_whitelist": FORMATS},
    "rtsp": {"protocol_whitelist": "rtp,srtp,tcp,tls,udp", "format_whitelist": f"rtsp,{FORMATS}"},
    "rtp": {"protocol_whitelist": "rtp,srtp,udp", "format_whitelist": f"rtp,{FORMATS}"},
    "srt": {"protocol_whitelist": "srt", "format_whitelist": FORMATS},
    "udp": {"protocol_whitelist": "udp", "format_whitelist": FORMATS},
}
"""Scheme, without the s of its encrypted form -> FFmpeg options."""


class Distance(IntEnum):
    """How far an address is from this machine: on it, in a private network, or public."""

    LOOPBACK = 0
    PRIVATE = 1
    PUBLIC = 2


def measure_distance(host: str) -> Distance:
    """The distance of a host; of several addresses the nearest counts, also of unknown ones."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return Distance.PUBLIC  # it cannot be reached at all
    return min(_judge(str(place[0])) for *_, place in found)


def _judge(text: str) -> Distance:
    address = ip_address(text.split("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_loopback or address.is_unspecified:
        return Distance.LOOPBACK
    return Distance.PUBLIC if address.is_global else Distance.PRIVATE


class Reach:
    """Where an HTTP source may lead by redirects and playlists.

    A public address may lead to public ones, on any host, as content networks need; one in a
    private network to private and public ones; one on this machine to any. All by HTTP or HTTPS.

    Args:
        address: of the source, as the user gave it.

    Attributes:
        distance: of the source.
    """

    def __init__(self, address: str) -> None:
        self._name = hide_password(address)
        self.distance = measure_distance(self._split(address).hostname or "")

    def check(self, address: str) -> None:
        """Raise NotAVideoError if the source may not lead there."""
        parts = self._split(address)
        if parts.scheme.startswith("crypto"):
            raise NotAVideoError(
                f"cannot read {self._name}: the segments of its playlist are encrypted; save it "
                "with `ffmpeg -i ADDRESS -c copy video.mp4` and read that"
            )
        if parts.scheme not in ("http", "https"):
            raise NotAVideoError(
                f"cannot read {self._name}: it leads to {hide_password(address)}, expected an "
                "address of http or https; name the video itself"
            )
        if self.distance is Distance.LOOPBACK:
            return
        if measure_distance(parts.hostname or "") < self.distance:
            raise NotAVideoError(
                f"cannot read {self._name}: it leads to {hide_password(address)}, which is nearer "
                "to this machine than itself; if you trust it, name that address"
            )

    def _split(self, address: str) -> SplitResult:
        try:
            return urlsplit(address)
        except ValueError as error:
            raise NotAVideoError(
                f"cannot read {self._name}: {hide_password(address)} is no address ({error}); "
                "check it"
            ) from error
