"""Downloads, from a server on the loopback that can be told to misbehave."""

import contextlib
import dataclasses
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from co3d.errors import DownloadError, UnknownModelError
from co3d.models import create_model
from co3d.weights import PublishedWeights, catalogue, download, fetch_weights, find_weights


class Server(ThreadingHTTPServer):
    """Serves `content`, sending only `sent_bytes` of it in the first `drops` answers."""

    content = b""
    sent_bytes = 0
    drops = 0
    requests = 0
    status = 200


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.requests += 1
        self.send_response(server.status)
        self.send_header("Content-Length", str(len(server.content)))
        self.end_headers()
        whole = server.requests > server.drops
        with contextlib.suppress(ConnectionError):  # the client hangs up on an error status
            self.wfile.write(server.content if whole else server.content[: server.sent_bytes])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("CO3D_CACHE", str(folder))
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    return folder


@pytest.fixture
def entry(server: Server, tmp_path: Path, cache: Path) -> PublishedWeights:
    path = tmp_path / "x3d_s.pyth"
    torch.save({"model_state": create_model("x3d_s").state_dict()}, path)
    server.content = path.read_bytes()
    server.sent_bytes = len(server.content) // 2
    url = f"http://127.0.0.1:{server.server_address[1]}/x3d_s.pyth"
    return dataclasses.replace(find_weights("x3d_s", "kinetics400"), url=url)


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_file_is_downloaded_once(server: Server, entry: PublishedWeights, cache: Path) -> None:
    path = fetch_weights(entry)
    assert path == cache / "kinetics400" / "x3d_s.pyth"
    assert path.read_bytes() == server.content
    assert fetch_weights(entry) == path
    assert server.requests == 1


def test_create_model_loads_weights_by_tag(
    server: Server, entry: PublishedWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "_PUBLISHED", (entry,))
    model = create_model("x3d_s", weights="kinetics400")
    assert model.card.labels[:2] == ("abseiling", "air drumming")
    assert server.requests == 1


def test_a_dropped_connection_is_tried_again(server: Server, entry: PublishedWeights) -> None:
    server.drops = 1
    assert fetch_weights(entry).read_bytes() == server.content
    assert server.requests == 2


def test_a_connection_that_keeps_dropping_leaves_nothing(
    server: Server, entry: PublishedWeights, cache: Path
) -> None:
    server.drops = 100
    with pytest.raises(DownloadError, match="cannot download kinetics400 weights of x3d_s"):
        fetch_weights(entry)
    assert server.requests == 1 + download.RETRIES
    assert files(cache) == []


def test_a_wrong_hash_is_refused(server: Server, entry: PublishedWeights, cache: Path) -> None:
    with pytest.raises(DownloadError, match="its SHA-256 begins with"):
        fetch_weights(dataclasses.replace(entry, sha256="0" * 64))
    assert files(cache) == []
    right = hashlib.sha256(server.content).hexdigest()
    assert fetch_weights(dataclasses.replace(entry, sha256=right)).exists()


def test_the_first_digits_of_a_hash_are_checked(
    server: Server, entry: PublishedWeights, cache: Path
) -> None:
    right = hashlib.sha256(server.content).hexdigest()
    with pytest.raises(DownloadError, match="its SHA-256 begins with"):
        fetch_weights(dataclasses.replace(entry, sha256="f" * 8))
    assert files(cache) == []
    assert fetch_weights(dataclasses.replace(entry, sha256=right[:8])).exists()


def test_a_damaged_file_in_the_cache_is_replaced(
    server: Server, entry: PublishedWeights, cache: Path
) -> None:
    known = dataclasses.replace(entry, sha256=hashlib.sha256(server.content).hexdigest())
    (cache / "kinetics400").mkdir(parents=True)
    (cache / "kinetics400" / "x3d_s.pyth").write_bytes(b"PK\x03\x04 half")
    assert fetch_weights(known).read_bytes() == server.content


def test_a_wrong_size_is_refused(entry: PublishedWeights, cache: Path) -> None:
    with pytest.raises(DownloadError, match="expected 17"):
        fetch_weights(dataclasses.replace(entry, size_bytes=17))
    assert files(cache) == []


def test_a_web_page_is_not_a_checkpoint(
    server: Server, entry: PublishedWeights, cache: Path
) -> None:
    server.content = b"<html>please log in</html>"
    with pytest.raises(DownloadError, match="web page"):
        fetch_weights(entry)
    assert files(cache) == []


def test_a_missing_page_is_reported(server: Server, entry: PublishedWeights) -> None:
    server.status = 404
    with pytest.raises(DownloadError, match="404"):
        fetch_weights(entry)


def test_offline_errors_name_the_address_the_target_and_the_remedy(
    server: Server, entry: PublishedWeights, cache: Path
) -> None:
    offline = dataclasses.replace(entry, url="http://127.0.0.1:9/x3d_s.pyth")
    with pytest.raises(DownloadError) as caught:
        fetch_weights(offline)
    message = str(caught.value)
    assert offline.url in message
    assert str(cache / "kinetics400" / "x3d_s.pyth") in message
    assert "--weights" in message
    assert "\n" not in message


def test_a_file_saved_by_hand_is_used(server: Server, entry: PublishedWeights, cache: Path) -> None:
    (cache / "kinetics400").mkdir(parents=True)
    (cache / "kinetics400" / "x3d_s.pyth").write_bytes(server.content)
    assert fetch_weights(entry).read_bytes() == server.content
    assert server.requests == 0


def test_a_cache_that_cannot_be_created_is_an_error(
    entry: PublishedWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("CO3D_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DownloadError, match="Not a directory"):
        fetch_weights(entry)


def test_the_catalogue_is_searched_by_model_and_tag() -> None:
    assert find_weights("x3d_l", "kinetics400").file_name == "x3d_l.pyth"
    with pytest.raises(UnknownModelError, match="kinetics400"):
        find_weights("x3d_l", "charades")
    with pytest.raises(UnknownModelError, match="none"):
        find_weights("unknown", "kinetics400")
