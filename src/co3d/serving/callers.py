"""Identify a request's sender: by token, by a browser's cookie, or as a user of this machine."""

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
    """A client has sent too many wrong tokens."""

    def __init__(self, wait_seconds: float) -> None:
        super().__init__("too many wrong tokens")
        self.wait_seconds = wait_seconds


@dataclass(frozen=True)
class Caller:
    """The sender of a request, and how it was identified.

    Attributes:
        person: the sender. session: of a signed-in browser; None for others.
        cookie: its value. gave_token: whether a header held the token.
    """

    person: Person
    session: BrowserSession | None = None
    cookie: str = ""
    gave_token: bool = False

    @property
    def role(self) -> Role:
        """The role of the sender."""
        return self.person.role

    def may_change(self, csrf: str) -> bool:
        """Whether a change is intended: browsers send cookies also with other sites' requests."""
        return self.session is None or secrets.compare_digest(
            csrf.encode("utf-8", "surrogatepass"), self.session.csrf.encode()
        )


class Callers:
    """Identifies senders.

    Args:
        tokens: of all people. sessions: of signed-in browsers.
        cookie_name: of the sessions' cookie.
        trusts_machine: whether senders without a token are viewers.
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
        """The sender of a request with these headers.

        Raises:
            GuessingError: the client has sent too many wrong tokens lately.
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
        """The holder of a token; None for a wrong one.

        Right tokens pass however many wrong ones came before: a neighbour behind the same address
        must not lock anybody out, and nobody can guess 256 bits.

        Raises:
            GuessingError: the client has sent too many wrong tokens lately.
        """
        person = self._tokens.find(token)
        if person is None and not self._failures.take(client):
            raise GuessingError(self._failures.wait_seconds(client))
        return person
