"""Choosing, refusing and falling back from hardware decoders; these tests need none."""

import numpy as np
import pytest
from av.codec.hwaccel import hwdevices_available

from co3d.errors import OptionError
from co3d.video import hardware, read_video
from support.videos import write_video

BUILT = hwdevices_available()
ABSENT = next(kind for kind in hardware.KINDS if kind not in BUILT)
WITHOUT_DECODER = next((kind for kind in BUILT if kind in ("qsv", "drm", "amf")), None)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("hardware") / "source.mp4", 12)


@pytest.fixture
def no_device(monkeypatch):
    monkeypatch.setattr(hardware, "find_fault", lambda kind: f"no {kind} is plugged in")


def check_same(reader, source):
    for frame, wanted in zip(reader, read_video(source), strict=True):
        np.testing.assert_array_equal(frame.image, wanted.image)


def test_an_unknown_decode_option_is_refused(source):
    with pytest.raises(OptionError, match="cannot decode on 'gpu': choose auto, cpu, or a device"):
        read_video(source, decode="gpu")


def test_a_device_that_the_build_lacks_is_refused_where_it_is_named(source):
    with pytest.raises(OptionError, match=f"cannot decode on {ABSENT}: FFmpeg was built without"):
        read_video(source, decode=ABSENT)


def test_a_device_that_is_not_there_is_refused_where_it_is_named(source, no_device):
    with pytest.raises(OptionError, match="cannot decode on cuda: no cuda is plugged in; choose"):
        read_video(source, decode="cuda")


def test_auto_falls_back_to_the_processor_and_says_so(source, no_device):
    with read_video(source, decode="auto") as reader:
        [notice] = reader.notices
        assert notice.startswith(f"{source} is decoded by the processor, as no hardware decoder is")
        assert all(f"{kind}: no {kind} is plugged in" in notice for kind in BUILT)
        check_same(reader, source)


@pytest.mark.skipif(WITHOUT_DECODER is None, reason="all devices of this FFmpeg decode")
def test_a_device_without_a_decoder_for_the_video_leaves_it_to_the_processor(source, monkeypatch):
    monkeypatch.setattr(hardware, "hwdevices_available", lambda: [WITHOUT_DECODER])
    monkeypatch.setattr(hardware, "find_fault", lambda _kind: None)
    assert WITHOUT_DECODER is not None
    with read_video(source, decode="auto") as reader:
        assert reader.notices == (
            f"{source} is decoded by the processor, as the device has no decoder for h264",
        )
        check_same(reader, source)
    with pytest.raises(OptionError, match="it has no decoder for this video; choose auto"):
        read_video(source, decode=WITHOUT_DECODER)


@pytest.mark.parametrize("kind", ["file", "folder of pictures"])
def test_the_device_is_given_to_whatever_opens(source, monkeypatch, tmp_path, kind):
    """Pictures in a folder are the exception: the CPU decodes them one by one."""
    monkeypatch.setattr(hardware, "find_fault", lambda _kind: None)
    given = []
    opening = hardware.HWAccel

    def open_like(place, *rest, hwaccel=None, **options):
        given.append(hwaccel)
        return av_open(place, *rest, **options)

    from co3d.video import container

    av_open = container.av.open
    monkeypatch.setattr(container.av, "open", open_like)
    if kind == "file":
        check_same(read_video(source, decode="cuda"), source)
        assert [type(one) for one in given] == [opening, type(None)]
        assert not given[0].allow_software_fallback
    else:
        from PIL import Image

        Image.new("RGB", (32, 32)).save(tmp_path / "1.png")
        assert len(list(read_video(tmp_path, decode="cuda"))) == 1
        assert set(given) == {None}
