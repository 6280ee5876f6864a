"""Draw a prediction on the frame that it describes."""

from fractions import Fraction
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from co3d.engine import Prediction

MIN_SHORT_SIDE_PX = 336  # smaller frames are enlarged to keep the text readable
MIN_TEXT_PX = 12
TEXT_LINES = 28  # lines of small text that fit into the short side
NAME_SHARE = 0.45  # of the panel's width, for the names of labels
PANEL_RGBA = (12, 16, 22, 190)
TRACK_RGBA = (64, 72, 84, 215)
TEXT_RGB = (245, 247, 250)
MUTED_RGB = (176, 186, 198)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@lru_cache(maxsize=16)
def _font(size_px: int) -> Font:
    return ImageFont.load_default(size_px)


def annotate_frame(
    image: np.ndarray,
    prediction: Prediction,
    colours: dict[str, str],
    pts_seconds: float,
    *,
    rows: int,
    sample_aspect_ratio: Fraction,
) -> np.ndarray:
    """Draw labels with probability bars, the time and the delay over the foot of a frame.

    Args:
        image: (H, W, 3) uint8, RGB.
        prediction: for this moment.
        colours: label -> "#rrggbb".
        pts_seconds: the time of this frame.
        rows: number of label rows, so that all frames have a panel of equal height.
        sample_aspect_ratio: width of a pixel by its height. Text is drawn to have its normal shape
            once players have stretched the picture.

    Returns:
        (s·H, s·W, 3) uint8, where s = 1 unless the short side is below 336 pixels, and else the
        smallest whole number that lifts it to that.
    """
    height, width = image.shape[:2]
    enlargement = -(-MIN_SHORT_SIDE_PX // max(1, min(height, round(width * sample_aspect_ratio))))
    picture = Image.fromarray(image)
    if enlargement > 1:
        size = (picture.width * enlargement, picture.height * enlargement)
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    shown_size = (round(picture.width * sample_aspect_ratio), picture.height)
    panel = _draw_panel(shown_size, prediction, colours, pts_seconds, rows)
    if panel.width != picture.width:
        panel = panel.resize((picture.width, panel.height), Image.Resampling.BICUBIC)
    picture.paste(panel, (0, picture.height - panel.height), panel)
    return np.asarray(picture)


def _draw_panel(
    picture_size: tuple[int, int],
    prediction: Prediction,
    colours: dict[str, str],
    pts_seconds: float,
    rows: int,
) -> Image.Image:
    """The panel at the bottom of the picture, whose height does not depend on labels."""
    width = picture_size[0]
    unit = max(MIN_TEXT_PX, round(min(picture_size) / TEXT_LINES))
    line = round(unit * 1.6)
    panel = Image.new("RGBA", (width, line * (rows + 1) + unit), PANEL_RGBA)
    draw = ImageDraw.Draw(panel)
    left, right = unit, width - unit
    for rank, (label, probability) in enumerate(prediction.top if prediction.valid else ()):
        middle = unit // 2 + line * rank + line // 2
        colour = TEXT_RGB if rank == 0 else MUTED_RGB
        name_font = _font(round(unit * 1.25) if rank == 0 else unit)
        bar_left, bar_right = left + round((right - left) * NAME_SHARE), right - 3 * unit
        name = _shorten(label, name_font, bar_left - left - unit // 2)
        draw.text((left, middle), name, colour, name_font, anchor="lm")
        _draw_bar(draw, (bar_left, bar_right), middle, unit // 3, probability, colours[label])
        draw.text((right, middle), f"{probability:.0%}", colour, _font(unit), anchor="rm")
    middle = panel.height - unit // 2 - line // 2
    draw.text((left, middle), f"{pts_seconds:.2f} s", MUTED_RGB, _font(unit), anchor="lm")
    draw.text((right, middle), _describe(prediction), MUTED_RGB, _font(unit), anchor="rm")
    return panel


def _draw_bar(
    draw: ImageDraw.ImageDraw,
    ends: tuple[int, int],
    middle: int,
    radius: int,
    share: float,
    colour: str,
) -> None:
    left, right = ends
    top, bottom = middle - radius, middle + radius
    draw.rounded_rectangle((left, top, right, bottom), radius, TRACK_RGBA)
    filled = left + round((right - left) * share)
    if filled - left >= 2 * radius:  # a shorter bar has no room for round ends
        draw.rounded_rectangle((left, top, filled, bottom), radius, colour)


def _describe(prediction: Prediction) -> str:
    if prediction.why_unlabelled:
        return prediction.why_unlabelled
    mark = "undersampled, " if prediction.is_undersampled else ""
    return f"{mark}delay {prediction.seen_pts_seconds - prediction.frame.pts_seconds:.2f} s"


def _shorten(text: str, font: Font, width: int) -> str:
    """Cut a text that is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"
