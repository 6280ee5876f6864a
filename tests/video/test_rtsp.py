"""RTSP sources that state a duration."""

import pytest

import co3d.video.back_off
from co3d.errors import SourceUnreachableError
from co3d.video import read_video
from co3d.video.container import open_url
from support.rtsp import serve_rtsp


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch) -> None:
    monkeypatch.setattr(co3d.video.back_off, "FIRST_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(co3d.video.back_off, "LAST_RETRY_SECONDS", 0.1)


@pytest.fixture(scope="module")
def film(tmp_path_factory, make):
    """Forty pictures, 20 a second."""
    options = {"bf": "0", "x264-params": "sliced-threads=0:slices=1"}
    return make(tmp_path_factory.mktemp("rtsp") / "film.h264", 40, options=options)


def test_a_film_ends_at_the_end_that_was_stated(film, number_of, drain):
    with serve_rtsp(film, 20, [40], 2.0) as url:
        reader = read_video(url, reconnect_seconds=0.3)
        frames, error = drain(reader)
    assert (reader.is_live, reader.duration_seconds, error) == (False, 2.0, None)
    assert [number_of(frame.image) for frame in frames] == list(range(40))


def test_a_film_that_breaks_off_for_good_is_damaged(film, drain):
    with serve_rtsp(film, 20, [25], 2.0) as url:
        frames, error = drain(read_video(url, reconnect_seconds=0.3))
    assert isinstance(error, SourceUnreachableError)
    assert 20 <= len(frames) <= 25


def test_a_film_that_breaks_off_goes_on_where_it_stopped(film, number_of, drain):
    with serve_rtsp(film, 20, [25, 40], 2.0) as url:
        frames, error = drain(read_video(url, reconnect_seconds=5))
    assert error is None
    assert [number_of(frame.image) for frame in frames] == list(range(40))


def test_a_live_source_states_no_duration(film, number_of, drain):
    with serve_rtsp(film, 20, [25], None) as url:
        reader = read_video(url, policy="every", reconnect_seconds=0.3)
        frames, error = drain(reader)
    assert reader.is_live
    assert isinstance(error, SourceUnreachableError)
    assert [number_of(frame.image) for frame in frames] == list(range(25))


@pytest.mark.parametrize("sends", ["tcp", "udp"])
@pytest.mark.parametrize("asked", ["auto", "tcp", "udp"])
def test_udp_is_taken_where_tcp_is_refused(film, sends, asked):
    with serve_rtsp(film, 20, [40] * 2, None, transport=sends) as url:
        if asked not in ("auto", sends):
            with pytest.raises(SourceUnreachableError, match=f"does not send over {asked}"):
                open_url(url, asked)
            return
        with open_url(url, asked) as container:
            assert next(container.demux()).size
