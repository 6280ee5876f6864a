"""Passwords stay out of what is shown."""

import pytest

from co3d.errors import SourceUnreachableError
from co3d.video import hide_password, read_video
from support.servers import send, serve


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://me:secret@host:554/1?x=y", "rtsp://me:***@host:554/1?x=y"),
        ("rtsp://me:sec@ret:x@host/1", "rtsp://me:***@host/1"),
        ("rtsp://me:12/34@host/1", "rtsp://me:***@host/1"),
        ("rtsp://host:554/me:x@y", "rtsp://host:***@y"),  # 554 may begin a password
        ("rtsp://me@host/1", "rtsp://***@host/1"),
        ("rtsp:/token@host/1", "rtsp:/***@host/1"),
        ("rtsp:me:secret@host/1", "rtsp:***@host/1"),
        ("http://host/at@home", "http://host/at@home"),
        ("films/a:b@c.mp4", "films/a:b@c.mp4"),
        ("rtsp://me:p@ss:w/rd#1@host/1", "rtsp://me:***@host/1"),
        ("rtsp://me:se/cr/et@host:554/1", "rtsp://me:***@host:554/1"),
        ("rtsp:/me:secret@host/1", "rtsp:/me:***@host/1"),
        ("http://host/v?user=me&password=secret&x=1", "http://host/v?user=me&password=***&x=1"),
        ("http://host/v?PWD=secret", "http://host/v?PWD=***"),
        ("http://host/v?access_token=s/e?c#r&x=1", "http://host/v?access_token=***&x=1"),
        (
            "rtsp://host:554/user=me&password=secret&channel=1",
            "rtsp://host:554/user=me&password=***&channel=1",
        ),
        ("rtsp://host/user=me_password=secret_channel=1.sdp", "rtsp://host/user=me_password=***"),
        ("rtsp://me:secret@host/1?key=other", "rtsp://me:***@host/1?key=***"),
        ("films/password=1.mp4", "films/password=1.mp4"),
        ("'.mp4?token=secret',", "'.mp4?token=***',"),
        ("x?a=1&access_token=secret", "x?a=1&access_token=***"),
    ],
)
def test_password_is_hidden(address: str, shown: str) -> None:
    assert hide_password(address) == shown


def test_error_does_not_tell_the_password() -> None:
    with pytest.raises(SourceUnreachableError) as caught:
        read_video("rtsp://me:secret@127.0.0.1:9/stream", reconnect_seconds=0)
    assert "secret" not in str(caught.value)
    assert "me:***@127.0.0.1" in str(caught.value)


@pytest.mark.parametrize("password", ["sec/ret", "s#cret", "s?cret"])
def test_the_error_says_when_a_password_must_be_percent_encoded(password) -> None:
    with pytest.raises(SourceUnreachableError, match="percent-encode the password") as caught:
        read_video(f"rtsp://me:{password}@127.0.0.1:9/stream", reconnect_seconds=0)
    assert password not in str(caught.value)


def test_the_error_does_not_mention_encoding_for_an_encoded_password() -> None:
    with pytest.raises(SourceUnreachableError) as caught:
        read_video("rtsp://me:sec%2Fret@127.0.0.1:9/stream", reconnect_seconds=0)
    assert "percent-encode" not in str(caught.value)


def test_a_stream_that_breaks_off_does_not_tell_the_password(tmp_path, make, drain) -> None:
    options = {"movflags": "faststart"}
    film = make(tmp_path / "film.mp4", 40, noise=True, container_options=options)
    data = film.read_bytes()

    def answer(handler, number):
        if number:
            handler.send_error(503)
        else:
            send(handler, data[: len(data) // 2], len(data))

    with serve(answer) as url:
        address = url.replace("://", "://me:secret@") + "?token=hidden"
        reader = read_video(address, reconnect_seconds=0.1)
        _, error = drain(reader)
    assert isinstance(error, SourceUnreachableError)
    assert "me:***@127.0.0.1" in str(error)
    assert "secret" not in str(error)
    assert "hidden" not in str(error)
