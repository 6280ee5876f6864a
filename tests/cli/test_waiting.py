"""What is going on is shown on a terminal after a second, and nowhere else."""

import io
import time
from collections.abc import Callable

import pytest

from co3d.cli import waiting as module
from co3d.cli.waiting import waiting
from co3d.console import Console


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], io.StringIO]:
    def open_one(is_terminal: bool) -> io.StringIO:
        written = io.StringIO()
        console = Console(file=written, force_terminal=is_terminal, width=80)
        monkeypatch.setattr(module, "Console", lambda **_: console)
        monkeypatch.setattr(module, "SILENCE_SECONDS", 0.01)
        return written

    return open_one


def test_a_long_wait_says_what_is_done(terminal) -> None:
    written = terminal(True)
    with waiting("opening x3d_m"):
        deadline = time.monotonic() + 10
        while "opening x3d_m" not in written.getvalue():
            assert time.monotonic() < deadline
            time.sleep(0.005)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_short_wait_says_nothing(terminal, is_terminal, monkeypatch) -> None:
    written = terminal(is_terminal)
    monkeypatch.setattr(module, "SILENCE_SECONDS", 60.0)
    with waiting("opening x3d_m"):
        pass
    assert "opening" not in written.getvalue()


def test_nothing_is_shown_where_there_is_no_terminal(terminal) -> None:
    written = terminal(False)
    with waiting("opening x3d_m"):
        time.sleep(0.05)
    assert written.getvalue() == ""
