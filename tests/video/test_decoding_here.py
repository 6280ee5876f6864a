"""Live sources that the iterating thread decodes: `decodes_ahead=False`."""

import threading
import time
from itertools import pairwise

import pytest

from co3d.errors import SourceUnreachableError
from co3d.video import SourceState, read_video
from co3d.video.interruptible import InterruptibleEvent, run_interruptibly
from support.servers import send, serve
from support.videos import make_broadcast

pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.fixture(scope="module")
def live_bytes(tmp_path_factory) -> bytes:
    """Enough bytes for FFmpeg to detect the format without waiting for more."""
    return make_broadcast(tmp_path_factory.mktemp("live") / "live.flv", 160)


def test_a_camera_that_goes_and_comes_back(tmp_path, make):
    data = make(tmp_path / "camera.ts", 40).read_bytes()

    def answer(handler, number):
        if number == 1:
            handler.send_error(503)
        else:  # each starts at another packet, or it would be a recording
            send(handler, data[number * 188 * 4 :])

    states: list[SourceState] = []
    with (
        serve(answer) as url,
        read_video(
            url, reconnect_seconds=20, on_state=states.append, decodes_ahead=False
        ) as reader,
    ):
        frames = [next(reader) for _ in range(60)]
    assert {state.phase for state in states} == {"connecting", "live", "reconnecting"}
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})
    assert all(one.pts_seconds < other.pts_seconds for one, other in pairwise(frames))
    causes = [state.cause or "" for state in states if state.phase == "reconnecting"]
    assert any("503" in cause or "5XX" in cause for cause in causes)


def test_one_thread_reads_and_none_else_is_started(live_bytes):
    over = threading.Event()

    def answer(handler, _number):
        send(handler, live_bytes)
        over.wait(30)

    with serve(answer) as url:
        before = set(threading.enumerate())
        with read_video(url, decodes_ahead=False) as reader:
            next(reader)
            names = [one.name for one in set(threading.enumerate()) - before]
            assert [name for name in names if name.startswith("co3d ")] == ["co3d receives"]
            over.set()


@pytest.mark.parametrize("sends_first", [True, False])
def test_stopping_ends_it_while_the_server_is_silent(live_bytes, sends_first):
    over, heard = threading.Event(), threading.Event()

    def answer(handler, number):
        if number == 0:
            send(handler, live_bytes)
            if not sends_first:
                return
        heard.set()
        over.wait(30)

    def stop() -> None:
        heard.wait(10)
        time.sleep(0.1)
        reader.stop()

    with serve(answer) as url, read_video(url, decodes_ahead=False) as reader:
        stopper = threading.Thread(target=stop)
        stopper.start()
        for _ in reader:
            pass
        stopped = time.monotonic()
        over.set()
        stopper.join()
    assert time.monotonic() - stopped < 10


def test_what_a_listener_raises_ends_the_first_connection():
    def answer(_handler, _number):
        asked.set()
        over.wait(10)

    def listen(_state: SourceState) -> None:
        if asked.is_set():
            raise KeyboardInterrupt

    asked, over = threading.Event(), threading.Event()
    with serve(answer) as url, pytest.raises(KeyboardInterrupt):
        read_video(url, on_state=listen, decodes_ahead=False)
    over.set()


def test_an_unreachable_source_raises():
    with pytest.raises(SourceUnreachableError):
        read_video("http://127.0.0.1:9/", reconnect_seconds=0, decodes_ahead=False)


def test_a_result_that_comes_after_an_interrupt_is_discarded():
    discarded, go_on = [], threading.Event()

    def tell() -> None:
        if go_on.is_set():
            raise TimeoutError

    def work() -> str:
        go_on.set()
        time.sleep(0.5)
        return "late"

    with pytest.raises(TimeoutError):
        run_interruptibly(work, "work", tell, discarded.append)
    for thread in threading.enumerate():
        if thread.name == "work":
            thread.join(10)
    assert discarded == ["late"]


def test_a_wait_for_an_event_calls_tell():
    told = []
    event = InterruptibleEvent(lambda: told.append(event.set()))
    assert event.wait(10)
    assert told == [None]
    assert not InterruptibleEvent(lambda: None).wait(0.01)
