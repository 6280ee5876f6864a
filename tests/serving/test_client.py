"""The Python client against a real server."""

import threading

import numpy as np
import pytest

import co3d
from co3d.engine.camera import Camera
from co3d.errors import OptionError, SourceUnreachableError
from co3d.serving.client import ServerRefusedError
from co3d.serving.settings import ServingLimits
from co3d.serving.tokens import Role
from support.people import TOKENS
from support.serving import run_service


@pytest.fixture
def service(open_server):
    return open_server(allowed_sources=("rtsp://127.0.0.0/8",), limits=ServingLimits(sessions=1))


@pytest.fixture
def url(service):
    with run_service(service) as url:
        yield url


def test_streams_are_added_changed_and_removed(service, url, video):
    service.streams.configure([Camera("door", str(video))])
    operator = co3d.Client(url, TOKENS[Role.OPERATOR])
    assert operator.get_server()["role"] == "operator"
    added = operator.add_stream("gate", "rtsp://127.0.0.1:9/x", threshold=0.5)
    assert (added.id, added.threshold) == ("gate", 0.5)
    assert {stream.id for stream in operator.list_streams()} == {"door", "gate"}
    assert operator.change_stream("gate", paused=True).state == "paused"
    operator.remove_stream("gate")
    with pytest.raises(ServerRefusedError, match="no stream is called 'gate'") as refused:
        operator.read_stream("gate")
    assert refused.value.status == 404
    with pytest.raises(ServerRefusedError) as refused:
        co3d.Client(url).remove_stream("door")
    assert refused.value.status == 403


def test_own_pictures_are_labelled(url):
    def play(count: int):
        for number in range(count):
            picture = np.random.default_rng(number).integers(0, 255, (64, 96, 3), np.uint8)
            yield picture, number / 8
            threading.Event().wait(0.02)

    client = co3d.Client(url)
    predictions = list(client.label(play(16)))
    assert [one.pts_seconds for one in predictions] == [n / 8 for n in range(11)]
    assert predictions[-1].valid
    assert predictions[-1].label == predictions[-1].top[0][0]
    running = client.label(play(16))
    next(running)
    with pytest.raises(ServerRefusedError) as refused:
        next(co3d.Client(url).label(play(1)))
    assert refused.value.retry_seconds == 5
    running.close()


def test_an_address_of_something_else_is_refused():
    with pytest.raises(OptionError):
        co3d.Client("rtsp://127.0.0.1")
    with pytest.raises(SourceUnreachableError):
        co3d.Client("http://127.0.0.1:9").list_streams()
