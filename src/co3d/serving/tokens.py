"""Access tokens and their roles. The token file holds only hashes."""

import hashlib
import json
import re
import secrets
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from co3d.errors import OptionError
from co3d.files import output_file, read_small

MAX_BYTES = 1 << 18
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
TOKEN_BYTES = 32


class Role(IntEnum):
    """A caller's role; each includes the rights of the ones before it.

    A viewer sees streams and events and may have own video labelled, an operator changes streams,
    and an admin reads and restores the state of streams.
    """

    NOBODY = 0
    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


ROLES = {role.name.lower(): role for role in Role if role is not Role.NOBODY}


@dataclass(frozen=True)
class Person:
    """Whoever holds a token.

    Attributes:
        name: of the token. role: what it allows.
    """

    name: str
    role: Role


STRANGER = Person("", Role.NOBODY)


def hash_token(token: str) -> str:
    """SHA-256 in hexadecimal digits.

    A fast hash is enough: tokens are 256 random bits, which nobody can find by trying. The slow
    hashes that passwords need would only cost time at every request.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def make_token() -> str:
    """A new token of 43 letters."""
    return secrets.token_urlsafe(TOKEN_BYTES)


class TokenFile:
    """The people in a file of hashed tokens, which is read again when it changes.

    Args:
        path: a JSON list of objects with name, role and sha256; None for no file.
        extra: people valid for this run only, by the hash of their token.

    Raises:
        OptionError: the file cannot be read, or an entry is wrong.
    """

    def __init__(self, path: Path | None, extra: dict[str, Person] | None = None) -> None:
        self._path, self._extra = path, extra or {}
        self._stamp: tuple[int, int] | None = None
        self._people: dict[str, Person] = {}
        self._read_if_changed(is_first=True)

    def find(self, token: str) -> Person | None:
        """The holder of a token; None for an unknown token."""
        self._read_if_changed()
        # The lookup's timing depends on the hash only, which does not help to guess a token.
        hashed = hash_token(token)
        return self._people.get(hashed) or self._extra.get(hashed)

    def _read_if_changed(self, *, is_first: bool = False) -> None:
        if self._path is None:
            return
        try:
            found = self._path.stat()
            stamp = found.st_mtime_ns, found.st_size
            if stamp != self._stamp:
                self._people, self._stamp = read_tokens(self._path), stamp
        except (OSError, OptionError) as error:
            if is_first:
                raise OptionError(f"cannot use the tokens {self._path}: {error}") from error
            self._people, self._stamp = {}, None  # a deleted file admits nobody


def read_tokens(path: Path) -> dict[str, Person]:
    """Hash -> person.

    Raises:
        OptionError: it is not a token file.
    """
    try:
        entries = json.loads(read_small(path, MAX_BYTES))
        people = {
            str(one["sha256"]): Person(str(one["name"]), ROLES[one["role"]]) for one in entries
        }
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise OptionError(
            f"cannot use the tokens {path}: got {type(error).__name__} ({error}), expected a list "
            "of name, role and sha256, as `co3d token` writes it"
        ) from error
    return people


def add_token(path: Path, name: str, role: str) -> str:
    """Make a token, and write its hash to the file; replaces a token of the same name.

    Returns:
        The token, which is not stored anywhere.

    Raises:
        OptionError: the name or role is not allowed, or the file cannot be read.
        OutputError: the file cannot be written.
    """
    if NAME.fullmatch(name) is None:
        raise OptionError(f"cannot name a token {name!r}: expected letters, digits, . _ and -")
    if role not in ROLES:
        raise OptionError(f"cannot make a token for {role!r}: expected {', '.join(ROLES)}")
    people = read_tokens(path) if path.exists() else {}
    people = {hashed: person for hashed, person in people.items() if person.name != name}
    token = make_token()
    people[hash_token(token)] = Person(name, ROLES[role])
    entries = [
        {"name": person.name, "role": person.role.name.lower(), "sha256": hashed}
        for hashed, person in people.items()
    ]
    with output_file(path) as temporary:
        temporary.chmod(0o600)
        temporary.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    return token
