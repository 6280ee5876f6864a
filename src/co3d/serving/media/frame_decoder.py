"""Decodes frames that a browser encoded (WebCodecs)."""

import av
import numpy as np
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext

CODECS = ("vp8", "vp9", "h264")


class FrameDecoder:
    """One stream of encoded frames.

    Args:
        codec: one of `CODECS`. max_pixels: of a picture.
    """

    def __init__(self, codec: str, max_pixels: int) -> None:
        assert codec in CODECS
        context = av.CodecContext.create(codec, "r")
        assert isinstance(context, VideoCodecContext)
        context.thread_count = 1
        context.options = {"max_pixels": str(max_pixels)}
        self._context, self._max_pixels = context, max_pixels

    def decode(self, data: bytes, is_wanted: bool) -> np.ndarray | None:
        """The picture (H, W, 3) uint8 of a frame; None if it gives none, or none is wanted.

        Raises:
            ValueError: the frame is damaged, or too large.
        """
        try:
            frames = self._context.decode(av.Packet(data))
        except (FFmpegError, MemoryError) as error:
            raise ValueError(f"a frame of {len(data)} bytes cannot be decoded ({error})") from error
        if not frames or not is_wanted:
            return None
        frame = frames[-1]
        if frame.width * frame.height > self._max_pixels:
            raise ValueError(f"a frame is {frame.width}x{frame.height}: too large")
        return frame.to_ndarray(format="rgb24")
