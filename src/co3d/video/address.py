"""Hide the passwords in network addresses before they are shown."""

import re

USER_ALONE = re.compile(r"(?<=:/)(/*)[^/@:?#]+@")
"""Finds a user without a password, because the user may be a token."""

USER_AND_PASSWORD = re.compile(r"(?<=:/)(/*[^/@:]*):(.*)@")
"""Finds a password up to the last @, since it may hold any character and may begin like a port."""

SLIP = re.compile(r"((?:rtsps?|rtmps?|https?):)(?!/).*@", re.IGNORECASE)
"""Finds an address whose slashes were forgotten."""

NAMED_SECRET = re.compile(
    r"([\w.-]*(?:pass|pwd|psw|token|secret|key|auth|sig|cred)[\w.-]*=)[^&\s]*[^&\s:;,.)'\"]",
    re.IGNORECASE,
)
"""Finds secrets in a query or, as some cameras have them, in a path:
`user=admin&password=secret`."""

QUERY_SECRET = re.compile(rf"(?<=[?&]){NAMED_SECRET.pattern}", re.IGNORECASE)
"""Finds secrets in a piece of an address: its last segment, or a suffix."""

URL_SCHEMES = ("http", "https", "rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "udp")
"""The schemes of addresses that are read as video."""

RESERVED = frozenset("@/?#:[] ")


def hide_password(address: str) -> str:
    """The address with `***` for anything that may be a password; file paths are left as they are.

    Titles, pictures and error messages are shared, and must not hold a camera's password.
    """
    if ":/" not in address and not SLIP.match(address):
        return QUERY_SECRET.sub(r"\1***", address)
    hidden = USER_AND_PASSWORD.sub(r"\1:***@", address, count=1)
    hidden = USER_ALONE.sub(r"\1***@", SLIP.sub(r"\1***@", hidden), count=1)
    return NAMED_SECRET.sub(r"\1***", hidden)


def needs_encoding(address: str) -> bool:
    """Whether the password before the host has characters that must be percent-encoded there."""
    found = USER_AND_PASSWORD.search(address)
    return found is not None and not RESERVED.isdisjoint(found[2])


def find_scheme(source: str) -> str | None:
    """The scheme of an address; None for the path of a file."""
    match = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]*):/", source)
    if match is None:
        return None
    scheme = match.group(1).lower()
    return scheme if scheme in URL_SCHEMES or "://" in source else None
