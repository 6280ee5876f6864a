"""JPEG pictures from and for clients."""

from io import BytesIO

import numpy as np
from PIL import Image

from co3d.errors import NotAVideoError, VideoLimitError

QUALITY = 75


def decode_jpeg(data: bytes, max_pixels: int) -> np.ndarray:
    """A picture that a client sent: (H, W, 3) uint8, RGB.

    Its size is read from its header before memory is allocated.

    Raises:
        NotAVideoError: it is not a JPEG, or is damaged.
        VideoLimitError: it has more than `max_pixels` pixels.
    """
    try:
        with Image.open(BytesIO(data), formats=["JPEG"]) as picture:
            width, height = picture.size
            if width * height > max_pixels:
                raise VideoLimitError(
                    f"cannot take a picture of {width}x{height}: at most {max_pixels} pixels are "
                    "accepted; scale it down"
                )
            # A writable copy; `convert` would copy an RGB picture once more.
            return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))
    except Image.DecompressionBombError as error:
        raise VideoLimitError(
            f"cannot take a picture: {error} At most {max_pixels} pixels are accepted."
        ) from error
    # Pillow raises many kinds of exception for damaged files.
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise NotAVideoError(
            f"cannot take a picture of {len(data)} bytes: {error or type(error).__name__}; expected"
            " a complete JPEG"
        ) from error


def encode_jpeg(picture: np.ndarray, max_width: int) -> bytes:
    """A picture (H, W, 3) as JPEG, scaled down to `max_width` if it is wider."""
    image = Image.fromarray(picture)
    if image.width > max_width:
        height = max(1, round(image.height * max_width / image.width))
        image = image.resize((max_width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    content = BytesIO()
    image.save(content, "JPEG", quality=QUALITY)
    return content.getvalue()
