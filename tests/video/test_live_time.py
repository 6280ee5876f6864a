"""The time of live sources that have no clock, or are silent for a while."""

import io
import time
from itertools import groupby

import pytest
from PIL import Image

import co3d.video.back_off
import co3d.video.live
from co3d.video import SourceState, read_video
from support.servers import serve


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch) -> None:
    monkeypatch.setattr(co3d.video.back_off, "FIRST_RETRY_SECONDS", 0.02)


@pytest.fixture
def send_pictures(picture):
    """Sends pictures as an MJPEG camera does, with a pause after each."""

    def send(handler, pauses):
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace;boundary=frame")
        handler.end_headers()
        for number, pause_seconds in enumerate(pauses):
            body = io.BytesIO()
            Image.fromarray(picture(number % 50)).save(body, "JPEG")
            length = f"Content-Length: {len(body.getvalue())}\r\n\r\n".encode()
            handler.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n" + length)
            handler.wfile.write(body.getvalue() + b"\r\n")
            time.sleep(pause_seconds)

    return send


def test_pictures_without_a_clock_have_the_time_of_their_arrival(send_pictures):
    started = time.monotonic()
    camera = serve(lambda handler, _: send_pictures(handler, [0.2] * 100))
    with camera as url, read_video(url) as reader:
        assert reader.is_live
        assert reader.source_rate_hz is None
        frames = [next(reader) for _ in range(8)]
        passed_seconds = time.monotonic() - started
        assert reader.notices == (
            f"{url} carries no clock: frames have the times of their arrival",
        )
    times = [frame.pts_seconds for frame in frames]
    assert times[0] == 0
    assert 0.6 < times[-1] < passed_seconds  # FFmpeg says 0.28
    assert times == sorted(times)


def test_silence_is_a_gap_as_long_as_it_lasted(send_pictures):
    camera = serve(lambda handler, _: send_pictures(handler, [*[0.2] * 5, 1.5, *[0.2] * 100]))
    with camera as url, read_video(url, rate_hz=8) as reader:
        frames = [next(reader) for _ in range(12)]
    gaps = [frame.gap_seconds for frame in frames if frame.gap_seconds]
    assert len(gaps) == 1
    assert 1.2 < gaps[0] < 2.5


def test_the_outage_of_a_camera_is_a_gap(send_pictures, monkeypatch):
    monkeypatch.setattr(co3d.video.live, "STALLED_PERIOD_SECONDS", 0.3)  # stalled after 1.2 s

    def answer(handler, number):
        time.sleep(1.5 if number else 0)
        send_pictures(handler, [0.2] * (100 if number else 6))  # both begin alike

    states: list[SourceState] = []
    with serve(answer) as url, read_video(url, rate_hz=8, on_state=states.append) as reader:
        frames = [next(reader) for _ in range(14)]
    gaps = [frame.gap_seconds for frame in frames if frame.gap_seconds]
    assert len(gaps) == 1
    assert gaps[0] > 1.5
    phases = [phase for phase, _ in groupby(states, lambda state: state.phase)]
    assert phases == ["connecting", "live", "reconnecting", "live"]


def test_a_source_that_is_silent_has_stalled(send_pictures, monkeypatch):
    monkeypatch.setattr(co3d.video.live, "STALLED_PERIOD_SECONDS", 0.1)
    states: list[SourceState] = []
    camera = serve(lambda handler, _: send_pictures(handler, [*[0.05] * 15, 1.5, *[0.05] * 100]))
    with camera as url, read_video(url, policy="every", on_state=states.append) as reader:
        frames = [next(reader) for _ in range(20)]
    phases = [phase for phase, _ in groupby(states, lambda state: state.phase)]
    assert phases == ["connecting", "live", "stalled", "live"]
    stalled = next(state for state in states if state.phase == "stalled")
    received = [frame.received_seconds or 0.0 for frame in frames]
    assert received == sorted(received)
    before = [seconds for seconds in received if seconds < received[-1] - 1]
    assert before[0] >= states[0].since_seconds
    assert before[-1] <= stalled.since_seconds + 0.1 <= before[-1] + 0.6
