"""Visitors' resources are counted, limited and freed."""

import asyncio
import threading
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from anyio import fail_after

from co3d.engine import TrackEnded
from co3d.errors import EngineFullError
from co3d.serving import visits as visits_module
from co3d.serving.visits import DECODING_MS, Visits, open_visit, run_uncancelled

BLANK = np.zeros((8, 8, 3), np.uint8)


def ignore(_item: object) -> None:
    """Discard a visitor's results."""


def test_measured_decoding_cost_limits_the_number_of_visitors(open_server):
    service = open_server(load_limit=0.8)
    first = service.visits.open(ignore)
    [track] = service.engine.tracks.values()
    assert track.source_cost.seconds == DECODING_MS / 1000
    for number in range(17):  # two pictures for each step
        first.push(number / 16, BLANK, 0.025)
    assert track.source_cost.seconds == pytest.approx(0.05, rel=0.1)
    with pytest.raises(EngineFullError, match=r"decoding its frame 5\d\.\d ms"):
        service.visits.open(ignore)


def test_a_gap_between_pictures_does_not_make_them_cheap(open_server):
    service = open_server()
    visit = service.visits.open(ignore)
    [track] = service.engine.tracks.values()
    for hour in range(4):
        visit.push(hour * 3600.0, BLANK, 0.08)
    assert track.source_cost.seconds >= 0.01  # a second's steps share what a picture takes


def test_memory_is_given_back_after_visitors_have_left(open_server, monkeypatch):
    is_given_back = threading.Event()
    monkeypatch.setattr(visits_module, "give_memory_back", is_given_back.set)
    monkeypatch.setattr(visits_module, "TRIM_SECONDS", 0.01)
    service = open_server()
    for _ in range(2):
        visit = service.visits.open(ignore)
        assert not is_given_back.is_set()
        visit.close()
        visit.close()
        assert is_given_back.wait(10)
        is_given_back.clear()


class _SlowEngine:
    """An engine that opens a track only when allowed to, and counts open tracks."""

    def __init__(self) -> None:
        self.is_asked, self.may_open = threading.Event(), threading.Event()
        self.open_tracks = 0

    def join(self, name, *, results, **_options):
        self.is_asked.set()
        assert self.may_open.wait(10)
        self.open_tracks += 1
        results.join(_do_nothing)

        def close() -> None:
            self.open_tracks -= 1
            results.end(TrackEnded(name, None), _do_nothing)

        return SimpleNamespace(name=name, rate_hz=8.0, source_cost=None, close=close)


def _do_nothing() -> None:
    pass


def test_a_visitor_who_cancels_while_joining_gets_no_place():
    engine = _SlowEngine()
    visits = Visits(cast(Any, engine), 1)

    async def leave_early() -> None:
        visitor = asyncio.create_task(open_visit(visits, lambda _: None))
        await asyncio.to_thread(engine.is_asked.wait, 10)
        visitor.cancel()
        with pytest.raises(asyncio.CancelledError):
            await visitor
        engine.may_open.set()
        with fail_after(10):
            while len(visits):
                await asyncio.sleep(0.01)

    asyncio.run(leave_early())
    assert engine.open_tracks == 0
    visits.close()


def test_a_place_is_freed_even_if_the_loop_ends_at_once():
    engine = _SlowEngine()
    engine.may_open.set()
    visits = Visits(cast(Any, engine), 1)

    async def visit_and_be_cancelled() -> None:
        visit = await open_visit(visits, lambda _: None)
        try:
            await asyncio.sleep(10)
        finally:
            await run_uncancelled(visit.close)

    async def run() -> None:
        visitor = asyncio.create_task(visit_and_be_cancelled())
        while not len(visits):
            await asyncio.sleep(0.01)
        for _ in range(3):
            visitor.cancel()
            await asyncio.sleep(0)

    asyncio.run(run())
    assert engine.open_tracks == 0
    visits.close()
