"""Passwords stay out of what is shown."""

import pytest

from co3d.errors import SourceUnreachableError
from co3d.video import hide_password, read_video


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://me:secret@host:554/1?x=y", "rtsp://me:***@host:554/1?x=y"),
        ("rtsp://me:sec@ret:x@host/1", "rtsp://me:***@host/1"),
        ("rtsp://host:554/me:x@y", "rtsp://host:554/me:x@y"),
        ("rtsp://me@host/1", "rtsp://me@host/1"),
        ("films/a:b@c.mp4", "films/a:b@c.mp4"),
    ],
)
def test_password_is_hidden(address: str, shown: str) -> None:
    assert hide_password(address) == shown


def test_error_does_not_tell_the_password() -> None:
    with pytest.raises(SourceUnreachableError) as caught:
        read_video("rtsp://me:secret@127.0.0.1:9/stream")
    assert "secret" not in str(caught.value)
    assert "me:***@127.0.0.1" in str(caught.value)
