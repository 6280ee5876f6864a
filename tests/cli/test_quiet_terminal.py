"""Ctrl-C prints nothing into a live view, and the terminal is left as it was."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from co3d.cli.quiet_terminal import quiet_terminal

termios = pytest.importorskip("termios")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[TextIO]:
    """A terminal, with this process in its foreground."""
    master, slave = os.openpty()
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp())
    with os.fdopen(slave, "w") as stream:
        yield stream
    os.close(master)


def echoes_control(stream: TextIO) -> bool:
    return bool(termios.tcgetattr(stream.fileno())[3] & termios.ECHOCTL)


def test_control_characters_are_not_echoed_meanwhile(terminal: TextIO) -> None:
    assert echoes_control(terminal)
    with quiet_terminal(terminal):
        assert not echoes_control(terminal)
    assert echoes_control(terminal)


def test_an_error_leaves_the_terminal_as_it_was(terminal: TextIO) -> None:
    with pytest.raises(KeyboardInterrupt), quiet_terminal(terminal):
        raise KeyboardInterrupt
    assert echoes_control(terminal)


def test_a_background_process_changes_nothing(
    terminal: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp() + 1)
    with quiet_terminal(terminal):
        assert echoes_control(terminal)


def test_a_file_is_not_changed(tmp_path: Path) -> None:
    with (tmp_path / "out.txt").open("w") as file, quiet_terminal(file):
        pass
