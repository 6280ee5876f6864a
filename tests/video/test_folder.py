import av
import numpy as np
import pytest

from co3d.errors import DamagedVideoError, EmptyVideoError, NotAVideoError, OptionError
from co3d.video import read_video


def save_picture(path, image):
    with av.open(str(path), "w", format="image2") as container:
        stream = container.add_stream("png", rate=1)
        stream.height, stream.width, stream.pix_fmt = image.shape[0], image.shape[1], "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.fixture
def folder(tmp_path, picture):
    folder = tmp_path / "bilder mit ümlaut 漢字"
    folder.mkdir()
    for number in range(12):
        save_picture(tmp_path / "picture.png", picture(number))
        (tmp_path / "picture.png").rename(folder / f"frame {number} é.png")
    (folder / "notes.txt").write_text("not a picture")
    (folder / "._frame 3 é.png").write_bytes(b"hidden")
    return folder


def test_pictures_come_in_natural_order(folder, number_of):
    with read_video(folder, folder_rate_hz=10) as reader:
        assert (reader.source_rate_hz, reader.frame_count, reader.is_live) == (10, 12, False)
        assert reader.duration_seconds == pytest.approx(1.2)
        frames = list(reader)
    assert [number_of(frame.image) for frame in frames] == list(range(12))
    assert [frame.index for frame in frames] == list(range(12))
    assert [frame.pts_seconds for frame in frames] == pytest.approx([n / 10 for n in range(12)])


def test_a_folder_is_sampled_like_a_video(folder):
    with read_video(str(folder), rate_hz=5, folder_rate_hz=10) as reader:
        assert [frame.index for frame in reader] == [0, 2, 4, 6, 8, 10]


def test_a_damaged_picture_is_passed_over_and_reported(folder, number_of, drain):
    (folder / "frame 4 é.png").write_bytes(b"\x89PNG broken")
    frames, error = drain(read_video(folder, folder_rate_hz=10))
    numbers = [number_of(frame.image) for frame in frames]
    assert numbers == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11]
    assert isinstance(error, DamagedVideoError)
    assert "11 frames were delivered, 1 lost from 0.400 s" in str(error)


def test_pictures_of_two_sizes_are_no_video(folder):
    save_picture(folder / "frame 7 b.png", np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(NotAVideoError, match=r"frame 7 b\.png is 30x20, expected 64x48"):
        list(read_video(folder))


def test_an_empty_folder(tmp_path):
    with pytest.raises(EmptyVideoError, match="no pictures"):
        read_video(tmp_path)


def test_a_folder_of_broken_pictures(tmp_path):
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(EmptyVideoError, match="none of its 1 pictures"):
        read_video(tmp_path)


def test_the_rate_must_be_positive(folder):
    with pytest.raises(OptionError, match="folder_rate_hz is 0"):
        read_video(folder, folder_rate_hz=0)
