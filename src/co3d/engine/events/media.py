"""Makes pictures of events from a source's compressed packets."""

import tempfile
from pathlib import Path

from av.error import FFmpegError
from PIL import Image

from co3d.errors import Co3dError
from co3d.files import output_file
from co3d.video import read_video
from co3d.video.framing import Flip
from co3d.video.packet_ring import PacketRing

QUALITY = 85
REORDERED_SECONDS = 0.5
"""How far beyond a moment to cut, because B-frames need packets that are shown later."""

FAILURES = (Co3dError, FFmpegError, OSError, ValueError)
"""The exceptions that making a picture or a clip may raise."""


def save_picture(
    ring: PacketRing,
    moment_seconds: float,
    path: Path,
    *,
    rotate: int = 0,
    flip: Flip | None = None,
) -> bool:
    """Write the picture of a moment as a JPEG; returns whether the ring still had it.

    It decodes from the key frame before on, which is up to a few seconds of video.

    Args:
        ring: the packets; see `PacketRing` for moments. path: the JPEG's path.
        rotate, flip: as for `read_video`; the picture is not cropped.

    Raises:
        What `FAILURES` lists.
    """
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mkv"
        cut = ring.cut(clip, moment_seconds, moment_seconds + REORDERED_SECONDS)
        if cut is None:
            return False
        place_seconds = cut.find_place(moment_seconds)
        with read_video(clip, rotate=rotate, flip=flip, decoder_threads=1) as reader:
            image = None
            for frame in reader:
                if image is not None and frame.pts_seconds > place_seconds + 1e-3:
                    break
                image = frame.image
    if image is None:
        return False
    with output_file(path) as temporary:
        Image.fromarray(image).save(temporary, "JPEG", quality=QUALITY)
    return True
