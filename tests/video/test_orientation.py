"""Display matrices of all eight orientations."""

import struct
from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
import pytest

from co3d.video import read_video
from co3d.video.indexed_opening import open_indexed_video
from co3d.video.orientation import Orientation

ORIENTATIONS: dict[str, tuple[tuple[int, int, int, int], Callable]] = {
    # a, b, c, d: the pixel at (p, q) is shown at (a·p + c·q, b·p + d·q)
    "upright": ((1, 0, 0, 1), lambda image: image),
    "mirrored": ((-1, 0, 0, 1), np.fliplr),
    "upside down and mirrored": ((1, 0, 0, -1), np.flipud),
    "half a turn": ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
    "a quarter turn clockwise": ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    "a quarter turn counter-clockwise": ((0, -1, 1, 0), np.rot90),
    "transposed": ((0, 1, 1, 0), lambda image: image.swapaxes(0, 1)),
    "transposed the other way": (
        (0, -1, -1, 0),
        lambda image: np.rot90(image.swapaxes(0, 1), 2),
    ),
}


@pytest.fixture(scope="module")
def picture_of_parts() -> np.ndarray:
    """Four parts of different greys."""
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32], image[:24, 32:], image[24:, :32], image[24:, 32:] = 20, 90, 160, 230
    return image


@pytest.fixture(scope="module")
def film(tmp_path_factory, picture_of_parts) -> bytes:
    path = tmp_path_factory.mktemp("orientation") / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(picture_of_parts, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


@pytest.mark.parametrize("is_transposed", [False, True])
def test_a_turned_pixel_is_as_wide_as_it_was_high(is_transposed):
    wide = Fraction(16, 11)
    expected = 1 / wide if is_transposed else wide
    assert Orientation(is_transposed=is_transposed).aspect_of(wide) == expected


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_a_display_matrix_is_applied(tmp_path, film, picture_of_parts, name):
    (a, b, c, d), show = ORIENTATIONS[name]
    expected = show(picture_of_parts)
    one, w = 1 << 16, 1 << 30
    data = bytearray(film)
    start = data.index(b"tkhd") + 4 + 40
    data[start : start + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, w)
    path = tmp_path / "film.mp4"
    path.write_bytes(data)
    with read_video(path) as reader:
        assert (reader.height, reader.width) == expected.shape[:2]
        image = next(reader).image
    video = open_indexed_video(path)
    clip = video.read([1])[0]
    video.close()
    for shown in (image, clip):
        assert shown.shape == expected.shape
        assert np.abs(shown.astype(int) - expected).max() < 12
