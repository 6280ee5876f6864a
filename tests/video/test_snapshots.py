"""Addresses that answer with one picture."""

from io import BytesIO
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from co3d.video import SourceState, read_video
from support.servers import serve


@pytest.fixture(autouse=True)
def _quick(quick_retries) -> None:
    pass


def send_picture(handler, image, kind="JPEG"):
    data = BytesIO()
    Image.fromarray(image).save(data, kind)
    handler.send_response(200)
    handler.send_header("Content-Type", f"image/{kind.lower()}")
    handler.send_header("Content-Length", str(len(data.getvalue())))
    handler.end_headers()
    handler.wfile.write(data.getvalue())


@pytest.mark.parametrize(
    ("ending", "kind"), [("", "JPEG"), ("/snap%03d.jpg", "JPEG"), (".png", "PNG")]
)
def test_a_picture_address_is_requested_repeatedly(picture, number_of, ending, kind):
    paths = set()

    def answer(handler, number):
        paths.add(handler.path)
        send_picture(handler, picture(min(number, 40)), kind)

    states: list[SourceState] = []
    with (
        serve(answer) as url,
        read_video(url + ending, poll_hz=200, policy="every", on_state=states.append) as reader,
    ):
        assert reader.is_live
        frames = [next(reader) for _ in range(6)]
        notices = reader.notices
    assert [number_of(frame.image) for frame in frames] == list(range(6))
    assert [frame.index for frame in frames] == list(range(6))
    times = [frame.pts_seconds for frame in frames]
    assert times == sorted(times)
    assert times[-1] > 0
    assert {state.phase for state in states} == {"connecting", "live"}
    assert "carries no clock" in notices[0]
    assert len(paths) == 1


def test_the_query_of_an_address_is_kept(picture):
    asked = []

    def answer(handler, number):
        asked.append(parse_qs(urlsplit(handler.path).query))
        send_picture(handler, picture(number))

    with serve(answer) as url, read_video(f"{url}?file=a.jpg", poll_hz=200) as reader:
        next(reader)
    assert asked[0] == {"file": ["a.jpg"]}


def test_an_unchanged_picture_gives_no_new_frame(picture, number_of):
    def answer(handler, number):
        send_picture(handler, picture(number // 3))

    with serve(answer) as url, read_video(url, poll_hz=200, policy="every") as reader:
        assert [number_of(next(reader).image) for _ in range(4)] == list(range(4))


def test_a_camera_that_is_away_is_requested_until_it_is_back(picture, number_of):
    def answer(handler, number):
        if number in (2, 3):
            handler.send_error(503)
        else:
            send_picture(handler, picture(number))

    states: list[SourceState] = []
    with (
        serve(answer) as url,
        read_video(url, poll_hz=200, policy="every", on_state=states.append) as reader,
    ):
        assert [number_of(next(reader).image) for _ in range(3)] == [0, 1, 4]
    away = [state for state in states if state.phase == "reconnecting"]
    assert away
    for state in away:  # already the first one names the refusal
        assert state.cause is not None
        assert "503" in state.cause or "5XX" in state.cause


def test_pictures_are_recorded_into_one_file_each_once(tmp_path, picture, number_of):
    def answer(handler, number):
        send_picture(handler, picture(number // 2))

    options = {"poll_hz": 200, "policy": "every", "record": tmp_path}
    with serve(answer) as url, read_video(url, **options) as reader:
        times = [next(reader).pts_seconds for _ in range(5)]
    (segment,) = tmp_path.iterdir()
    with read_video(segment) as reader:
        recorded = list(reader)
    assert [number_of(frame.image) for frame in recorded[:5]] == list(range(5))
    assert len(recorded) in (5, 6)
    distances = [frame.pts_seconds - recorded[0].pts_seconds for frame in recorded[:5]]
    assert distances == pytest.approx([seconds - times[0] for seconds in times], abs=0.01)


def test_a_change_to_a_codec_that_matroska_cannot_hold_gives_a_notice(tmp_path, picture):
    def answer(handler, number):
        send_picture(handler, picture(number), "PNG" if number > 2 else "JPEG")

    options = {"poll_hz": 200, "policy": "every", "record": tmp_path}
    with serve(answer) as url, read_video(url, **options) as reader:
        for _ in range(5):
            next(reader)
    (segment,) = tmp_path.iterdir()
    with read_video(segment) as recorded:
        assert len(list(recorded)) == 3
    assert "does not support 'png' codec" in reader.notices[-1]
