"""What commands print for people."""

import io

import pytest
from rich.table import Table
from rich.text import Text

from co3d.console import Console, say, warn

HOSTILE = "a\x1b]0;title\x07\x1b[2Jb\x9b1m"
SPELLED = r"a\x1b]0;title\x07\x1b[2Jb\x9b1m"


@pytest.mark.parametrize("wrap", [str, Text, "table"])
def test_consoles_escape_control_characters(wrap):
    shown = HOSTILE if wrap == "table" else wrap(HOSTILE)
    if wrap == "table":
        shown = Table("name")
        shown.add_row(HOSTILE)
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100)
    console.print(shown, style="bold", markup=False, highlight=False)
    text = file.getvalue()
    assert r"a\x1b]0;title" in text
    assert "\x1b[1m" in text  # its own colours stay
    assert not any(code in text for code in ("\x1b]", "\x1b[2J", "\x9b"))


def test_plain_text_is_escaped_too(capsys):
    say(HOSTILE)
    assert capsys.readouterr().out == SPELLED + "\n"


@pytest.mark.parametrize(
    "address", ["rtsp://me:secret@host/1", "rtsp:/secret@host/1", "http://host/v?token=secret"]
)
def test_warnings_hide_secrets(capsys, address):
    warn(f"error: cannot write {address}: no such folder; choose another")
    said = capsys.readouterr().err
    assert "secret" not in said
    assert said.endswith(": no such folder; choose another\n")
