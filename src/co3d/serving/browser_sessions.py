"""Signed-in browsers: each has a cookie, and a second secret against forged requests."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from co3d.serving.tokens import Person, hash_token

LIFE_SECONDS = 12 * 3600.0
MOST_SESSIONS = 1000


@dataclass(frozen=True)
class BrowserSession:
    """A signed-in browser.

    Attributes:
        person: whose token it sent. csrf: the secret that it must send with every change.
        ends_seconds: on the monotonic clock.
    """

    person: Person
    csrf: str
    ends_seconds: float


class BrowserSessions:
    """Sessions by the hash of their cookie, in memory; of more than 1000 the oldest ends.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: OrderedDict[str, BrowserSession] = OrderedDict()

    def open(self, person: Person) -> tuple[str, BrowserSession]:
        """Sign a person in; returns the cookie's value and the session."""
        cookie = secrets.token_urlsafe(32)
        session = BrowserSession(person, secrets.token_urlsafe(32), self._clock() + LIFE_SECONDS)
        self._sessions[hash_token(cookie)] = session
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return cookie, session

    def find(self, cookie: str) -> BrowserSession | None:
        """The session of a cookie; None if it has ended."""
        session = self._sessions.get(hash_token(cookie))
        if session is None or session.ends_seconds > self._clock():
            return session
        self.end(cookie)
        return None

    def end(self, cookie: str) -> None:
        """Sign out."""
        self._sessions.pop(hash_token(cookie), None)
