"""Text for people: from elsewhere as terminals may show it, times, and long lists in short."""

import json
import logging
import reprlib
import unicodedata
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

_MOST_LETTERS = 120
# Controls (escape sequences begin with one), and halves of pairs, which no terminal can show.
_UNSHOWN = {"Cc", "Cs"}
# What turns the order of the letters behind it.
_TURNS = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))


def make_printable(text: str) -> str:
    r"""The text with `\x1b` and the like in place of what a terminal would obey; lines stay."""
    if text.isprintable():
        return text
    return "".join(
        letter.encode("unicode_escape").decode() if _is_obeyed(letter) else letter
        for letter in text
    )


def spell_time(unix_seconds: float, timespec: str = "milliseconds") -> str:
    """Unix time in ISO 8601 and UTC, as finely as `datetime.isoformat` takes it."""
    moment = datetime.fromtimestamp(unix_seconds, timezone.utc)
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


def spell_json(value: Any) -> str:
    r"""The value as one line of JSON, with `\u009b` and the like for what a terminal would obey.

    JSON itself escapes the first 32 controls only.
    """
    text = json.dumps(value, ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join(json.dumps(letter)[1:-1] if _is_obeyed(letter) else letter for letter in text)


def _is_obeyed(letter: str) -> bool:
    return letter in _TURNS or (letter not in "\n\t" and unicodedata.category(letter) in _UNSHOWN)


def list_first(names: Sequence[object], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def spell_short(value: Any) -> str:
    """A value from elsewhere as Python spells it, in short however deep or long it is."""
    spelling = reprlib.Repr()
    spelling.maxlevel, spelling.maxstring, spelling.maxother = 3, _MOST_LETTERS, _MOST_LETTERS
    try:
        return spelling.repr(value)[: 2 * _MOST_LETTERS]
    except ValueError:  # Python spells no integer of over some thousand digits
        return f"{type(value).__name__} of too many digits to show"


class PrintableFormatter(logging.Formatter):
    """Messages as terminals may show them: file names and keys in them may be anybody's."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        return make_printable(super().format(record))
