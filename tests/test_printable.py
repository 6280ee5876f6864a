"""What terminals are given to show."""

import json
import logging

import pytest

from co3d.models.card import ModelCard
from co3d.printable import PrintableFormatter, dump_json, make_printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("door open", "door open"),
        ("Tür\u00a0auf, 门, 👨\u200d👩", "Tür\u00a0auf, 门, 👨\u200d👩"),
        ("two\nlines\tand tabs", "two\nlines\tand tabs"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31m", r"\x9b31m"),
        ("over\rwritten", r"over\rwritten"),
        ("back\x08", r"back\x08"),
        ("gpj\u202e.exe", r"gpj\u202e.exe"),
        ("half\udc80", r"half\udc80"),
        ("", ""),
    ],
)
def test_control_characters_are_escaped(text, shown):
    assert make_printable(text) == shown
    assert make_printable(shown) == shown


def test_labels_of_cards_can_be_shown():
    card = ModelCard("a", 8, 5.0, 32, 32, (0, 0, 0), (1, 1, 1), labels=("\x1b[2J", "walk"))
    assert card.labels == (r"\x1b[2J", "walk")


def test_warnings_can_be_shown():
    record = logging.LogRecord("co3d", 30, "f", 1, "%s is damaged", ("a\x1b[2Jb",), None)
    assert PrintableFormatter().format(record) == r"a\x1b[2Jb is damaged"


def test_json_escapes_control_characters():
    value = {"labels": ["\x9b2J", "\x7f", "gpj\u202e", "\x1b[2J", "Tür 门", "half\udc80"]}
    line = dump_json(value)
    assert make_printable(line) == line
    assert "Tür 门" in line
    assert json.loads(line) == value
