"""Network addresses as they may be shown."""

import re

USER_ALONE = re.compile(r"(?<=:/)(/*)[^/@:?#]+@")
"""A name without a password may be a token."""

USER_AND_PASSWORD = re.compile(r"(?<=:/)(/*[^/@:]*):(.*)@")
"""Up to the last @, since passwords hold any character, and may begin as a port does."""

SLIP = re.compile(r"((?:rtsps?|rtmps?|https?):)(?!/).*@", re.IGNORECASE)
"""An address without its slashes."""

NAMED_SECRET = re.compile(
    r"([\w.-]*(?:pass|pwd|psw|token|secret|key|auth|sig|cred)[\w.-]*=)[^&\s]*[^&\s:;,.)'\"]",
    re.IGNORECASE,
)
"""In a query, or in the path as some cameras want it: `user=admin&password=secret`."""

QUERY_SECRET = re.compile(rf"(?<=[?&]){NAMED_SECRET.pattern}", re.IGNORECASE)
"""In what was cut off an address: its last part, or what looks like a suffix."""

URL_SCHEMES = ("http", "https", "rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "udp")
"""Of the addresses that are read."""

RESERVED = frozenset("@/?#:[] ")


def hide_password(address: str) -> str:
    """The address with `***` for its password, wherever it may stand; files are left as they are.

    Titles, pictures and error messages are passed on; a camera's password must not be in them.
    Whatever might be a password is hidden.
    """
    if ":/" not in address and not SLIP.match(address):
        return QUERY_SECRET.sub(r"\1***", address)
    hidden = USER_AND_PASSWORD.sub(r"\1:***@", address, count=1)
    hidden = USER_ALONE.sub(r"\1***@", SLIP.sub(r"\1***@", hidden), count=1)
    return NAMED_SECRET.sub(r"\1***", hidden)


def needs_encoding(address: str) -> bool:
    """Whether the password before the host has characters that mean something else there."""
    found = USER_AND_PASSWORD.search(address)
    return found is not None and not RESERVED.isdisjoint(found[2])


def find_scheme(source: str) -> str | None:
    """What stands before the first slashes of an address; None for the path of a file."""
    match = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]*):/", source)
    if match is None:
        return None
    scheme = match.group(1).lower()
    return scheme if scheme in URL_SCHEMES or "://" in source else None
