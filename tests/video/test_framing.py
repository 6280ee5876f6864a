"""Pictures that are turned, mirrored and cropped as the user wants."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from co3d.errors import OptionError
from co3d.video import VideoFrame, VideoWriter, read_video
from co3d.video.framing import Framing
from co3d.video.indexed_opening import open_indexed_video

PICTURE = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
FLIPS = {None: lambda image: image, "horizontal": np.fliplr, "vertical": np.flipud}


def frame_picture(framing: Framing, image: np.ndarray = PICTURE) -> np.ndarray:
    return next(framing.apply([VideoFrame(image, 0.0, 0)])).image


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", FLIPS)
def test_pictures_are_turned_clockwise_and_then_mirrored(rotate, flip):
    expected = FLIPS[flip](np.rot90(PICTURE, -rotate // 90))
    framing = Framing(rotate, flip)
    np.testing.assert_array_equal(frame_picture(framing), expected)
    assert framing.size_of(7, 5, "it") == expected.shape[1::-1]


@given(st.data(), st.sampled_from([0, 90, 180, 270]), st.sampled_from([*FLIPS]))
def test_the_crop_is_of_the_turned_and_mirrored_picture(data, rotate, flip):
    turned = frame_picture(Framing(rotate, flip))
    height, width = turned.shape[:2]
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    w, h = data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y))
    framing = Framing(rotate, flip, (x, y, w, h))
    cropped = frame_picture(framing)
    np.testing.assert_array_equal(cropped, turned[y : y + h, x : x + w])
    assert cropped.flags.c_contiguous
    assert framing.size_of(7, 5, "it") == (w, h)


def test_a_frame_that_comes_again_is_framed_once():
    frame, other = VideoFrame(PICTURE, 0.0, 0), VideoFrame(PICTURE, 1.0, 1)
    framed = list(Framing(90).apply([frame, frame, other]))
    assert framed[0] is framed[1]
    assert [item.pts_seconds for item in framed] == [0.0, 0.0, 1.0]


def test_the_reader_applies_it_to_every_source(video_path):
    with read_video(video_path) as reader:
        whole = [frame.image for frame in reader]
    with read_video(video_path, rotate=270, flip="vertical", crop=(4, 6, 40, 20)) as reader:
        assert (reader.width, reader.height) == (40, 20)
        for frame, image in zip(reader, whole, strict=True):
            expected = np.flipud(np.rot90(image))[6:26, 4:44]
            np.testing.assert_array_equal(frame.image, expected)


@pytest.mark.parametrize(("rotate", "aspect"), [(0, "16/11"), (90, "11/16"), (180, "16/11")])
def test_pixels_are_turned_too(tmp_path, picture, rotate, aspect):
    path = tmp_path / "anamorphic.mp4"
    with VideoWriter(path, 20, sample_aspect_ratio=Fraction(16, 11)) as writer:
        writer.write(picture(0), 0)
    with read_video(path, rotate=rotate) as reader:
        assert reader.sample_aspect_ratio == Fraction(aspect)


def test_anamorphic_pictures_are_read_as_they_are_stored_as_by_data_sets(tmp_path, picture):
    path = tmp_path / "anamorphic.mp4"
    with VideoWriter(path, 20, sample_aspect_ratio=Fraction(16, 11)) as writer:
        writer.write(picture(7), 0)
    with read_video(path) as reader:
        image = next(reader).image
    assert image.shape == (48, 64, 3)
    video = open_indexed_video(path)
    np.testing.assert_array_equal(video.read([0])[0], image)
    video.close()


@pytest.mark.parametrize("aspect", [Fraction(1), Fraction(1, 200), Fraction(4000, 3)])
def test_pixels_are_square_unless_something_sensible_is_stated(tmp_path, picture, aspect):
    path = tmp_path / "video.mp4"
    with VideoWriter(path, 20, sample_aspect_ratio=aspect) as writer:
        writer.write(picture(0), 0)
    with read_video(path) as reader:
        assert reader.sample_aspect_ratio == 1


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"rotate": 45}, "rotate by 45 degrees: choose 0, 90, 180 or 270"),
        ({"flip": "both"}, "choose 'horizontal' or 'vertical'"),
        ({"crop": (0, 0, 10)}, "x, y, width and height in whole pixels"),
        ({"crop": (0.0, 0.0, 0.5, 0.5)}, "in whole pixels"),
        ({"crop": (0, 0, 0, 10)}, "1 or more"),
        ({"crop": (-1, 0, 10, 10)}, "from 0 on"),
        ({"crop": (40, 0, 25, 10)}, "to 25x10 pixels at 40,0: its pictures have 64x48"),
        ({"crop": (0, 40, 48, 25), "rotate": 90}, "its pictures have 48x64"),
    ],
)
def test_impossible_framings_are_refused(video_path, options, complaint):
    with pytest.raises(OptionError, match=complaint):
        read_video(video_path, **options)
