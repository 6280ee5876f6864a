import json
import stat
import time

import pytest

from co3d.errors import OptionError
from co3d.serving.browser_sessions import LIFE_SECONDS, MOST_SESSIONS, BrowserSessions
from co3d.serving.history import LabelHistory, LabelRun
from co3d.serving.throttle import Throttle
from co3d.serving.tokens import Person, Role, TokenFile, add_token


def test_the_token_file_holds_only_hashes_and_only_its_owner_can_read_it(tmp_path):
    path = tmp_path / "tokens.json"
    first = add_token(path, "alice", "viewer")
    second = add_token(path, "bob", "operator")
    text = path.read_text()
    assert first not in text
    assert second not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    tokens = TokenFile(path)
    assert tokens.find(first) == Person("alice", Role.VIEWER)
    assert tokens.find(second) == Person("bob", Role.OPERATOR)
    assert tokens.find(first[:-1]) is None


def test_a_second_token_of_a_name_replaces_the_first_while_the_server_runs(tmp_path):
    path = tmp_path / "tokens.json"
    first = add_token(path, "alice", "viewer")
    tokens = TokenFile(path)
    second = add_token(path, "alice", "admin")
    assert tokens.find(second) == Person("alice", Role.ADMIN)
    assert tokens.find(first) is None
    path.unlink()
    assert tokens.find(second) is None


@pytest.mark.parametrize(
    "content", ["", "{}x", "[1]", '[{"name": "a"}]', json.dumps([{"name": "a", "role": "king"}])]
)
def test_a_file_of_something_else_is_refused(tmp_path, content):
    path = tmp_path / "tokens.json"
    path.write_text(content)
    with pytest.raises(OptionError):
        TokenFile(path)


@pytest.mark.parametrize(("name", "role"), [("", "viewer"), ("a\nb", "viewer"), ("a", "king")])
def test_odd_names_and_roles_are_refused(tmp_path, name, role):
    with pytest.raises(OptionError):
        add_token(tmp_path / "tokens.json", name, role)


def test_sessions_end_with_time_and_are_bounded():
    now = [0.0]
    sessions = BrowserSessions(lambda: now[0])
    cookie, session = sessions.open(Person("alice", Role.VIEWER))
    assert sessions.find(cookie) is session
    now[0] = LIFE_SECONDS
    assert sessions.find(cookie) is None
    cookies = [sessions.open(Person("bob", Role.VIEWER))[0] for _ in range(MOST_SESSIONS + 1)]
    assert sessions.find(cookies[0]) is None
    assert sessions.find(cookies[1]) is not None


def test_permits_are_refilled_at_their_rate():
    now = [0.0]
    throttle = Throttle(2, 3, lambda: now[0])
    assert [throttle.take("a") for _ in range(4)] == [True, True, True, False]
    assert throttle.take("b")
    assert throttle.wait_seconds("a") == 0.5
    now[0] = 0.5
    assert throttle.take("a")
    assert not throttle.take("a")


def test_a_clock_that_is_set_back_or_forward_changes_no_session_and_no_limit(monkeypatch):
    sessions, throttle = BrowserSessions(), Throttle(0.001, 1)
    cookie, session = sessions.open(Person("alice", Role.VIEWER))
    assert throttle.take("10.0.0.1")
    for now in (0.0, 4e9):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert sessions.find(cookie) is session
        assert not throttle.take("10.0.0.1")


def test_a_clock_that_is_set_back_starts_a_new_run_of_the_timeline():
    history = LabelHistory(8.0)
    for at_seconds in (1000.0, 1000.125, 400.0, 400.125):
        history.add("pan left", at_seconds)
    assert history.list_since(0.0) == [
        LabelRun("pan left", 1000.0, 1000.25),
        LabelRun("pan left", 400.0, 400.25),
    ]
