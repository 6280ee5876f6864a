"""Settings with which the server refuses to start."""

from pathlib import Path

import pytest

from co3d.errors import OptionError
from co3d.serving.settings import ServerSettings

FILES = {"certificate": Path("c.pem"), "key": Path("k.pem")}
TOKENS = {"tokens": Path("tokens.json")}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.9.9.9"])
def test_serving_on_loopback_needs_no_tokens(host):
    settings = ServerSettings(host=host)
    assert settings.is_loopback
    assert not settings.is_open
    assert settings.allowed_hosts is not None
    assert host in settings.allowed_hosts


@pytest.mark.parametrize(
    "given",
    [
        {"host": "0.0.0.0"},
        {"host": "0.0.0.0", **TOKENS},
        {"host": "0.0.0.0", **FILES},
        {"host": "cameras.example.org", **TOKENS},
        {"public_url": "https://cameras.example.org"},
        {"certificate": Path("c.pem")},
        {"public_url": "cameras.example.org", **TOKENS},
        {"public_url": "https://cameras.example.org/path", **TOKENS},
        {"port": 70_000},
    ],
)
def test_unprotected_settings_are_refused(given):
    with pytest.raises(OptionError):
        ServerSettings(**given)


def test_serving_to_others_needs_tokens_and_tls_or_a_proxy():
    assert ServerSettings(host="0.0.0.0", **TOKENS, **FILES).is_secure
    assert ServerSettings(public_url="https://cameras.example.org", **TOKENS).is_secure
    assert not ServerSettings(public_url="http://cameras.local", **TOKENS).is_secure
