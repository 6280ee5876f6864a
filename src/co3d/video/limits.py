"""Limits on the resources that one video may take: small files can claim any size and duration."""

from dataclasses import dataclass

from co3d.errors import OptionError, VideoLimitError


@dataclass(frozen=True)
class VideoLimits:
    """Resources that one video may take; more raises VideoLimitError.

    Attributes:
        pixels: of a picture; checked before memory is allocated for it. The default allows 8K,
            also the 8192 × 4320 of cinemas.
        frames: of a file or folder. The default is a day at 120 frames a second.
        held_seconds: how long in all sampling may repeat pictures beyond the first second of
            each. Live sources have no such limit, and none on frames.
        picture_bytes: of one file in a folder of pictures.

    Raises:
        OptionError: one of them is not above zero.
    """

    pixels: int = 36_000_000
    frames: int = 24 * 3600 * 120
    held_seconds: float = 3600.0
    picture_bytes: int = 2**28

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise OptionError(f"cannot limit videos to {name}={value}: expected more than 0")

    @property
    def decoder_options(self) -> dict[str, str]:
        """Options of FFmpeg's decoders; they count pixels in blocks, so the limit is rounded up."""
        return {"max_pixels": str(self.pixels + self.pixels // 8 + 2**16)}

    def check_picture(self, width: int, height: int, name: str) -> None:
        """Raise VideoLimitError for a picture that is larger than the limit; sizes in pixels."""
        if width * height > self.pixels:
            raise VideoLimitError(
                f"cannot read {name}: its pictures are {width}x{height}, at most {self.pixels} "
                f"pixels are accepted; scale it down, or raise VideoLimits(pixels=…)"
            )

    def check_frames(self, count: int, name: str) -> None:
        """Raise VideoLimitError for more frames than the limit."""
        if count > self.frames:
            raise VideoLimitError(
                f"cannot read {name}: it has more than {self.frames} frames; cut it into parts, or "
                "raise VideoLimits(frames=…)"
            )

    def check_held(self, seconds: float, name: str) -> None:
        """Raise VideoLimitError for more seconds of repeated pictures than the limit."""
        if seconds > self.held_seconds:
            raise VideoLimitError(
                f"cannot sample {name}: its pictures are far apart, and to repeat them took more "
                f"than {self.held_seconds:g} s; take all its frames as they are, or raise "
                "VideoLimits(held_seconds=…)"
            )

    def check_file(self, size: int, name: str) -> None:
        """Raise VideoLimitError for a picture file with more bytes than the limit."""
        if size > self.picture_bytes:
            raise VideoLimitError(
                f"cannot read {name}: it has {size} bytes, at most {self.picture_bytes} are "
                "accepted for a picture; make it again, or raise VideoLimits(picture_bytes=…)"
            )


DEFAULT_LIMITS = VideoLimits()
