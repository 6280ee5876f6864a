"""Network streams over a real loopback server, and cameras that are not there."""

import gc
import re
import socket
import threading
import time
from collections.abc import Iterator

import pytest

import co3d.video.back_off
import co3d.video.container
import co3d.video.live
from co3d.errors import (
    CameraError,
    DamagedVideoError,
    NotAVideoError,
    OptionError,
    SourceUnreachableError,
)
from co3d.video import read_video
from support.servers import send, serve

pytestmark = pytest.mark.usefixtures("quick_retries")


def reader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("co3d reads")]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    gc.collect()
    for thread in reader_threads():
        thread.join(1)
    assert reader_threads() == []


@pytest.fixture(scope="module")
def film(tmp_path_factory, make) -> bytes:
    """Forty frames with the index in front, so that it plays without seeking."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    options = {"movflags": "faststart"}
    return make(path, 40, noise=True, container_options=options).read_bytes()


def test_a_remote_film_ends_at_its_end_and_loses_nothing(film):
    with serve(lambda handler, _: send(handler, film, len(film))) as url:
        with read_video(url, queue_frames=2, policy="latest") as reader:
            assert (reader.is_live, reader.width, reader.height) == (False, 64, 48)
            frames = list(reader)
        assert [frame.index for frame in frames] == list(range(40))
        assert (reader.dropped_frames, reader.damage) == (0, None)


def test_a_remote_film_is_sampled(film):
    with serve(lambda handler, _: send(handler, film, len(film))) as url:
        indices = [frame.index for frame in read_video(url, rate_hz=4)]
    assert indices == list(range(0, 40, 5))


def test_a_film_that_breaks_off_goes_on_where_it_stopped(film):
    def answer(handler, number):
        send(handler, film if number else film[: len(film) // 2], len(film))

    with serve(answer) as url:
        frames = list(read_video(url, reconnect_seconds=5))
    assert [frame.index for frame in frames] == list(range(40))
    assert [frame.pts_seconds for frame in frames] == pytest.approx([n / 20 for n in range(40)])


def test_a_film_that_always_ends_early_is_damaged(film, drain):
    half = film[: len(film) // 2]
    with serve(lambda handler, _: send(handler, half, len(half))) as url:
        reader = read_video(url, reconnect_seconds=5)
        frames, error = drain(reader)
    assert isinstance(error, DamagedVideoError)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert 10 < len(frames) < 30
    assert reader.damage is not None
    assert reader.damage.frames_lost == pytest.approx(40 - len(frames), abs=2)


def test_the_time_of_an_outage_counts_when_a_live_stream_comes_back(tmp_path, make):
    """The outage counts, measured at most from the start of the first part."""
    options = {"flvflags": "no_duration_filesize"}
    parts = [
        make(tmp_path / f"{n}.flv", 20, noise=True, seed=n, container_options=options).read_bytes()
        for n in range(5)
    ]
    started = time.monotonic()

    def answer(handler, number):
        if number == 1:
            handler.send_error(503)
        else:
            send(handler, parts[number])

    with serve(answer) as url, read_video(url, policy="every", reconnect_seconds=5) as reader:
        assert reader.is_live
        frames = [next(reader) for _ in range(21)]
        away_seconds = time.monotonic() - started
        frames += [next(reader) for _ in range(29)]
    times = [frame.pts_seconds for frame in frames]
    assert [frame.index for frame in frames] == list(range(50))
    assert times == sorted(set(times))
    assert 1 / 20 - 1e-6 <= times[20] - times[19] <= away_seconds


def test_a_recording_without_a_length_ends_at_its_end(broadcast, drain):
    requests = []

    def answer(handler, number):
        requests.append(number)
        send(handler, broadcast)

    with serve(answer) as url:
        frames, error = drain(read_video(url, policy="every", reconnect_seconds=5))
    assert error is None
    assert requests == [0, 1]
    assert [frame.index for frame in frames] == list(range(20))
    times = [frame.pts_seconds - frames[0].pts_seconds for frame in frames]
    assert times == pytest.approx([n / 20 for n in range(20)])


def test_a_recording_without_a_length_goes_on_where_it_broke_off(broadcast, drain):
    def answer(handler, number):
        send(handler, broadcast if number else broadcast[: len(broadcast) // 2])

    with serve(answer) as url:
        frames, error = drain(read_video(url, policy="every", reconnect_seconds=5))
    assert error is None
    assert [frame.index for frame in frames] == list(range(20))
    times = [frame.pts_seconds - frames[0].pts_seconds for frame in frames]
    assert times == pytest.approx([n / 20 for n in range(20)])


def test_a_live_stream_that_stays_away_is_given_up(broadcast, drain):
    def answer(handler, number):
        if number:
            handler.send_error(503)
        else:
            send(handler, broadcast)

    with serve(answer) as url:
        frames, error = drain(read_video(url, policy="every", reconnect_seconds=0.3))
    assert [frame.index for frame in frames] == list(range(20))
    assert isinstance(error, SourceUnreachableError)
    silence = re.search(r"no frame for (\d\.\d) s \(", str(error))
    assert 0.3 <= float(silence[1]) < 5


@pytest.mark.parametrize(("policy", "drops"), [(None, True), ("latest", True), ("every", False)])
def test_a_slow_consumer_gets_the_newest_frames(broadcast, drain, policy, drops):
    sent = threading.Event()

    def answer(handler, number):
        if number:
            handler.send_error(503)
            sent.set()
        else:
            send(handler, broadcast)

    with serve(answer) as url:
        reader = read_video(url, policy=policy, queue_frames=3, reconnect_seconds=0.5)
        first = next(reader).index
        if drops:
            assert sent.wait(5)  # by now the whole broadcast went through the queue
        frames, error = drain(reader)
    assert isinstance(error, SourceUnreachableError)
    indices = [frame.index for frame in frames]
    if drops:
        assert indices == [17, 18, 19]
        assert reader.dropped_frames == 20 - 1 - 3
    else:
        assert [first, *indices] == list(range(20))
        assert reader.dropped_frames == 0


def test_live_time_that_jumps_is_not_filled_with_invented_frames(tmp_path, make, drain):
    times = [0, 0.05, 0.1, 5.0, 5.05, 5.1]
    options = {"flvflags": "no_duration_filesize"}
    data = make(tmp_path / "gap.flv", times, container_options=options).read_bytes()

    def answer(handler, number):
        if number:
            handler.send_error(503)
        else:
            send(handler, data)

    with serve(answer) as url:
        frames, error = drain(read_video(url, rate_hz=20, policy="every", reconnect_seconds=0.1))
    assert isinstance(error, SourceUnreachableError)
    # The tick of the sixth frame is never settled, since no frame comes after it.
    assert [frame.index for frame in frames] == list(range(5))


def test_close_ends_the_thread_and_the_iteration(broadcast, monkeypatch):
    monkeypatch.setattr(co3d.video.live, "JOIN_SECONDS", 60.0)

    def answer(handler, number):
        send(handler, broadcast)

    with serve(answer) as url:
        reader = read_video(url, policy="every", queue_frames=1)
        next(reader)
        assert len(reader_threads()) == 1
        started = time.monotonic()
        reader.close()
        assert time.monotonic() - started < 30
        assert reader_threads() == []
        assert list(reader) == []
        reader.close()


def test_close_from_another_thread_wakes_a_waiting_consumer(film):
    done = threading.Event()

    def answer(handler, number):
        send(handler, film[: len(film) // 2], len(film))
        done.wait(60)  # silent, but the line stays open

    with serve(answer) as url:
        reader = read_video(url)
        timer = threading.Timer(0.3, reader.close)
        timer.start()
        started = time.monotonic()
        frames = list(reader)
        assert 0 < len(frames) < 40
        assert time.monotonic() - started < 30
        timer.join()
        done.set()


def test_an_interrupt_leaves_no_thread(broadcast):
    def consume(url):
        for _ in read_video(url, policy="every", queue_frames=1):
            raise KeyboardInterrupt

    with serve(lambda handler, _: send(handler, broadcast)) as url:
        with pytest.raises(KeyboardInterrupt):
            consume(url)
        gc.collect()
        assert reader_threads() == []


def test_an_unread_reader_leaves_nothing(broadcast):
    with serve(lambda handler, _: send(handler, broadcast)) as url:
        read_video(url).close()
        assert reader_threads() == []


def test_a_port_without_a_server_is_unreachable():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for scheme in ("http", "rtsp", "rtmp"):
        with pytest.raises(SourceUnreachableError, match="check the address"):
            read_video(f"{scheme}://127.0.0.1:{port}/video", reconnect_seconds=0)


@pytest.mark.parametrize("scheme", ["http", "rtsp", "rtmp"])
def test_a_server_that_says_nothing_is_given_up_in_time(scheme, monkeypatch):
    monkeypatch.setattr(co3d.video.container, "OPEN_TIMEOUT_SECONDS", 0.3)  # of 10
    with socket.create_server(("127.0.0.1", 0)) as server:
        started = time.monotonic()
        with pytest.raises(SourceUnreachableError):
            read_video(f"{scheme}://127.0.0.1:{server.getsockname()[1]}/video", reconnect_seconds=0)
        assert time.monotonic() - started < 8


def test_a_missing_page_and_a_page_of_text():
    with (
        serve(lambda handler, _: handler.send_error(404)) as url,
        pytest.raises(SourceUnreachableError, match="404"),
    ):
        read_video(url, reconnect_seconds=0)
    with (
        serve(lambda handler, _: send(handler, b"<html>hello</html>" * 9, 162)) as url,
        pytest.raises(NotAVideoError, match="not with video"),
    ):
        read_video(url)


@pytest.mark.parametrize("source", [97, "97", -1])
def test_an_absent_camera(source):
    with pytest.raises(CameraError, match=f"cannot open camera {source}"):
        read_video(source)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate_hz": 0}, "rate_hz is 0"),
        ({"rate_hz": float("nan")}, "rate_hz is nan"),
        ({"policy": "some"}, "choose 'latest' or 'every'"),
        ({"queue_frames": 0}, "queue_frames is 0"),
        ({"reconnect_seconds": -1}, "reconnect_seconds is -1"),
    ],
)
def test_options_that_cannot_work(video_path, options, message):
    with pytest.raises(OptionError, match=message):
        read_video(video_path, **options)


@pytest.mark.parametrize("source", ["", " "])
def test_a_source_without_a_name(source):
    with pytest.raises(OptionError, match="without a name"):
        read_video(source)


def test_schemes_may_be_written_in_capitals(film):
    with serve(lambda handler, _: send(handler, film, len(film))) as url:
        assert len(list(read_video(url.replace("http", "HTTP")))) == 40


def test_one_slash_is_too_few():
    with pytest.raises(OptionError, match="expected two slashes, rtsp://") as caught:
        read_video("rtsp:/me:secret@host/video")
    assert "secret" not in str(caught.value)


def test_an_unknown_scheme():
    with pytest.raises(OptionError, match="got scheme 'gopher'"):
        read_video("gopher://host/video")


def test_a_server_that_falls_silent_is_named_as_such(broadcast, drain, monkeypatch):
    monkeypatch.setattr(co3d.video.container, "READ_TIMEOUT_SECONDS", 0.5)
    over = threading.Event()

    def answer(handler, _number):
        send(handler, broadcast)
        over.wait(30)

    with serve(answer) as url:
        _, error = drain(read_video(url, policy="every", reconnect_seconds=0))
        over.set()
    assert re.search(r"no frame for [0-4]\.\d s \(the server fell silent\)", str(error))
