"""Names of splits of sets that are divided three times over, as UCF101 and HMDB51 are."""

import re

from co3d.errors import OptionError

DIVISIONS = 3


def read_division(split: str | None) -> tuple[int, str]:
    """The division that a split is of: the second for "test2", the first for "test" or None.

    Returns:
        Its number, and what the names of its splits end in: "2" or nothing.

    Raises:
        OptionError: there is no such division.
    """
    match = re.fullmatch(r"[a-z]+(\d+)", (split or "").casefold())
    ending = match[1] if match else ""
    number = int(ending or 1)
    if not 1 <= number <= DIVISIONS:
        raise OptionError(
            f"cannot take the split {split!r}: got division {number}, expected 1 to {DIVISIONS}, "
            "as in test1"
        )
    return number, ending
