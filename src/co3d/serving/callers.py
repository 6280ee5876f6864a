"""Who a request comes from: by token, by a browser's cookie, or a user of this machine."""

import secrets
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from co3d.serving.browser_sessions import BrowserSession, BrowserSessions
from co3d.serving.throttle import Throttle
from co3d.serving.tokens import STRANGER, Person, Role, TokenFile

FAILURES, FAILURES_PER_SECOND = 5, 0.1
LOCAL = Person("this machine", Role.VIEWER)


class GuessingError(Exception):
    """A client has given too many wrong tokens."""

    def __init__(self, wait_seconds: float) -> None:
        super().__init__("too many wrong tokens")
        self.wait_seconds = wait_seconds


@dataclass(frozen=True)
class Caller:
    """Who asks, and how that is known.

    Attributes:
        person: who. session: of a browser that is signed in; None of others.
        cookie: its value. gave_token: whether a header named the token.
    """

    person: Person
    session: BrowserSession | None = None
    cookie: str = ""
    gave_token: bool = False

    @property
    def role(self) -> Role:
        """What they may do."""
        return self.person.role

    def may_change(self, csrf: str) -> bool:
        """Whether a request that changes something is meant: browsers send cookies unasked."""
        return self.session is None or secrets.compare_digest(
            csrf.encode("utf-8", "surrogatepass"), self.session.csrf.encode()
        )


class Callers:
    """Finds out who asks.

    Args:
        tokens: who has which. sessions: browsers that are signed in.
        cookie_name: of these.
        trusts_machine: whether those without a token are viewers.
    """

    def __init__(
        self,
        tokens: TokenFile,
        sessions: BrowserSessions,
        cookie_name: str,
        *,
        trusts_machine: bool,
    ) -> None:
        self.sessions, self.cookie_name = sessions, cookie_name
        self._tokens = tokens
        self._unknown = LOCAL if trusts_machine else STRANGER
        self._failures = Throttle(FAILURES_PER_SECOND, FAILURES)

    def identify(self, headers: Headers, client: str) -> Caller:
        """Who sent these headers.

        Raises:
            GuessingError: the client has given too many wrong tokens lately.
        """
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return Caller(self.check(token.strip(), client) or STRANGER, gave_token=True)
        cookie = cookie_parser(headers.get("cookie", "")).get(self.cookie_name, "")
        session = self.sessions.find(cookie) if cookie else None
        if session is not None:
            return Caller(session.person, session, cookie)
        return Caller(self._unknown)

    def check(self, token: str, client: str) -> Person | None:
        """Who has a token; None for a wrong one.

        Right ones pass however many wrong ones came: a neighbour behind the same address must not
        lock anybody out, and nobody guesses 256 bits.

        Raises:
            GuessingError: the client has given too many wrong ones lately.
        """
        person = self._tokens.find(token)
        if person is None and not self._failures.take(client):
            raise GuessingError(self._failures.wait_seconds(client))
        return person
