"""The aspect ratio of a picture's pixels."""

from fractions import Fraction

from av.video.stream import VideoStream

SQUARE = Fraction(1)

MOST_ANAMORPHIC = 8
"""Lenses and standards squeeze pictures by at most two; far more is an error in the header."""


def read_aspect(stream: VideoStream) -> Fraction:
    """Width of a pixel by its height, as stored; 1 if the header states nothing sensible."""
    aspect = stream.sample_aspect_ratio
    if not aspect or not Fraction(1, MOST_ANAMORPHIC) <= aspect <= MOST_ANAMORPHIC:
        return SQUARE
    return aspect
