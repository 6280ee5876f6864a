"""Text for people: foreign text with control characters escaped, times, and shortened lists."""

import json
import logging
import reprlib
import unicodedata
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

_MOST_LETTERS = 120
# Control characters (escape sequences begin with one), and lone surrogates, which cannot be shown.
_UNSHOWN = {"Cc", "Cs"}
# Characters that change the direction of the text after them.
_TURNS = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))


def make_printable(text: str) -> str:
    r"""The text with `\x1b` and the like in place of control characters; line breaks stay."""
    if text.isprintable():
        return text
    return "".join(
        letter.encode("unicode_escape").decode() if _is_obeyed(letter) else letter
        for letter in text
    )


def format_time(unix_seconds: float, timespec: str = "milliseconds") -> str:
    """Unix time in ISO 8601, UTC, with the precision `timespec` of `datetime.isoformat`."""
    moment = datetime.fromtimestamp(unix_seconds, timezone.utc)
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


def dump_json(value: Any) -> str:
    r"""The value as one line of JSON, with control characters escaped, for instance as `\u009b`.

    JSON itself only escapes the first 32 control characters.
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


def short_repr(value: Any) -> str:
    """The `repr` of a foreign value, shortened however deep or long it is."""
    spelling = reprlib.Repr()
    spelling.maxlevel, spelling.maxstring, spelling.maxother = 3, _MOST_LETTERS, _MOST_LETTERS
    try:
        return spelling.repr(value)[: 2 * _MOST_LETTERS]
    except ValueError:  # Python refuses to print integers of thousands of digits
        return f"{type(value).__name__} of too many digits to show"


class PrintableFormatter(logging.Formatter):
    """Escapes control characters in log messages, since they may contain foreign names and keys."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        return make_printable(super().format(record))
