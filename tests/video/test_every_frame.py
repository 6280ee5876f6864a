"""All frames of a source whose reader samples some, decoded once."""

import numpy as np
import pytest

from co3d.video import every_frame, read_video
from co3d.video.file import FileSource
from support.videos import write_video

FRAMING = {"rotate": 90, "crop": (8, 16, 40, 64)}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("every") / "source.mp4", 40, rate_hz=30.0)


def take_all(held):
    return list(iter(held.take, None))


def check_same(frames, source):
    expected = list(read_video(source, **FRAMING))
    assert [(f.index, f.pts_seconds) for f in frames] == [
        (f.index, f.pts_seconds) for f in expected
    ]
    for frame, wanted in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame.image, wanted.image)


def test_frames_between_samples_are_those_of_another_reader(source, monkeypatch):
    expected = list(read_video(source, rate_hz=8, **FRAMING))
    with read_video(source, rate_hz=8, **FRAMING) as reader:
        held = reader.hold_every_frame()
        monkeypatch.setattr("co3d.video.reader.open_source", None)  # nothing is opened from now on
        frames = []
        for sampled, wanted in zip(reader, expected, strict=True):
            np.testing.assert_array_equal(sampled.image, wanted.image)
            frames += take_all(held)
            assert frames[-1].pts_seconds >= sampled.pts_seconds
        frames += take_all(held)
        assert reader.notices == ()
    monkeypatch.undo()
    check_same(frames, source)


def test_beyond_the_limit_the_source_is_decoded_again_and_the_reader_says_so(source, monkeypatch):
    monkeypatch.setattr(every_frame, "HELD_BYTES", 10 * 96 * 64 * 3 // 2)
    with read_video(source, rate_hz=8, **FRAMING) as reader:
        held = reader.hold_every_frame()
        next(reader)
        frames = [held.take()]
        list(reader)
        frames += take_all(held)
        [notice] = reader.notices
    assert "is decoded twice" in notice
    check_same(frames, source)


def test_a_source_that_does_not_show_what_it_decodes_is_decoded_again(source, monkeypatch):
    monkeypatch.setattr(FileSource, "shows_decoded", False)
    with read_video(source, rate_hz=8, **FRAMING) as reader:
        held = reader.hold_every_frame()
        check_same(take_all(held), source)
        assert reader.notices == ()


def test_no_frames_come_after_close(source, monkeypatch):
    with read_video(source, rate_hz=8) as reader:
        held = reader.hold_every_frame()
        next(reader)
        held.close()
        assert held.take() is None
    monkeypatch.setattr(FileSource, "shows_decoded", False)
    with read_video(source, rate_hz=8) as reader:
        held = reader.hold_every_frame()
        assert held.take() is not None
        held.close()
        assert held.take() is None
