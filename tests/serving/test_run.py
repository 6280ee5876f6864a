"""The server's run, from its start to its end."""

import gc
import socket
from types import SimpleNamespace

from co3d.serving import run


def test_what_collections_pass_over_meanwhile_is_collected_at_the_end(open_server, monkeypatch):
    service = open_server()
    frozen: list[int] = []
    server = SimpleNamespace(run=lambda sockets: frozen.append(gc.get_freeze_count()))
    monkeypatch.setattr(service.media, "start", lambda: None)
    monkeypatch.setattr(run, "make_server", lambda *_: server)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        run.run_server(service, listener)
    assert frozen[0] > 0
    assert gc.get_freeze_count() == 0
