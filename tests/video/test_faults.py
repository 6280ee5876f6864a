"""Exceptions inside PyAV become errors of the source, and never end a run over many sources."""

import av
import pytest
from PIL import Image

from co3d.errors import NotAVideoError, SourceNotFoundError
from co3d.video import read_video
from co3d.video.container import read_packets, translate_pyav_errors
from co3d.video.indexed_opening import open_indexed_video


def test_an_exception_in_pyav_becomes_an_error_of_the_source():
    expected = r"cannot read film: ValueError \(.*; fetch it again"
    with pytest.raises(NotAVideoError, match=expected), translate_pyav_errors("film"):
        av.VideoFrame(4, 4, "no such format")


def test_an_exception_of_our_own_is_not_translated():
    with pytest.raises(KeyError), translate_pyav_errors("film"):
        raise KeyError("a bug")
    with pytest.raises(SourceNotFoundError), translate_pyav_errors("film"):
        read_video("nowhere.mp4")


def test_a_stream_that_appears_in_the_middle_is_passed_over():
    class Container:
        packets = iter(["a", IndexError, "b", IndexError, IndexError, "c"])

        def demux(self):
            for packet in self.packets:
                if packet is IndexError:
                    raise IndexError
                yield packet

    assert list(read_packets(Container())) == ["a", "b", "c"]


@pytest.mark.parametrize("orientation", [1, 2, 6])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_photographs_with_exif_tags_are_read_and_upright(tmp_path, suffix, orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    picture = Image.new("RGB", (64, 48))
    picture.paste((255, 255, 255), (0, 0, 32, 24))  # the top left is bright
    picture.save(tmp_path / f"1.{suffix}", exif=tags)
    bright = {1: (slice(0, 24), slice(0, 32)), 2: (slice(0, 24), slice(32, 64))}
    bright[6] = (slice(0, 32), slice(24, 48))  # a quarter turn clockwise
    with read_video(tmp_path) as reader:
        shown = next(reader).image
    indexed = open_indexed_video(tmp_path).read([0])[0]
    for image in (shown, indexed):
        assert image.shape[:2] == ((64, 48) if orientation == 6 else (48, 64))
        assert image[bright[orientation]].mean() > 240
        assert image.mean() < 80
