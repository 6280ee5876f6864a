import os
import signal
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from co3d.video import read_video
from co3d.video.indexed_opening import open_indexed_video
from co3d.video.turns import Turns, decoding_turns
from support.videos import write_video


def test_so_many_threads_work_at_a_time():
    turns, lock = Turns(2), threading.Lock()
    both_work, works, most = threading.Barrier(2), 0, 0

    def work() -> None:
        nonlocal works, most
        with lock:
            works += 1
            most = max(most, works)
        both_work.wait(10)
        with lock:
            works -= 1

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(turns.take, work) for _ in range(6)]:
            done.result(10)
    assert most == 2


def test_work_that_fails_gives_its_turn_back():
    turns = Turns(1)
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error):
            turns.take(lambda error=error: (_ for _ in ()).throw(error))
    assert turns.take(lambda: "its turn") == "its turn"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no such timer")
def test_no_turn_is_lost_to_interrupts():
    turns, done = Turns(1), threading.Event()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def work() -> None:
        signal.setitimer(signal.ITIMER_REAL, 3e-4)
        while True:
            turns.take(int)

    earlier = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(300):
            with pytest.raises(KeyboardInterrupt):
                work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
    threading.Thread(target=turns.take, args=(done.set,), daemon=True).start()
    assert done.wait(10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_has_all_turns():
    turns, may_end = Turns(1), threading.Event()
    has_begun = threading.Event()

    def work() -> None:
        has_begun.set()
        may_end.wait(10)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(turns.take, work)
        assert has_begun.wait(10)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer Pythons warn of forks beside threads
            child = os.fork()
        if not child:
            turns.take(lambda: os._exit(7))
        may_end.set()
        done.result(10)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def read_every_frame(path: Path) -> None:
    with read_video(path) as reader:
        assert sum(1 for _ in reader) == 5


def read_at_random(path: Path) -> None:
    video = open_indexed_video(path)
    assert len(video.read([0, 4])) == 2
    video.close()


@pytest.mark.parametrize("read", [read_every_frame, read_at_random])
def test_pictures_are_decoded_and_converted_in_turns(tmp_path, monkeypatch, read):
    path, done, take = write_video(tmp_path / "video.mp4", 5), list[str](), decoding_turns.take

    def note(work: partial) -> object:
        done.append(work.func.__name__)
        return take(work)

    monkeypatch.setattr(decoding_turns, "take", note)
    read(path)
    assert done.count("decode") >= 5
    assert done.count("to_ndarray") == (5 if read is read_every_frame else 2)
