import functools
import http.server
import io
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest
from rich.console import Console

from co3d.datasets import annotations
from co3d.datasets.annotations import ANNOTATIONS, Annotations, fetch
from co3d.errors import DataError, DownloadError


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def site(tmp_path):
    """A folder, and the address at which a local server offers it."""
    folder = tmp_path / "site"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CO3D_CACHE", str(tmp_path / "cache"))


def offer(monkeypatch, address: str, *names: str) -> None:
    files = {name: f"{address}/{Path(name).name}" for name in names}
    monkeypatch.setitem(annotations.ANNOTATIONS, "kinetics400", Annotations(files, "by hand"))


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("kinetics400/link.csv")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)


def test_lists_are_taken_out_of_archives_by_name_alone(site, tmp_path, monkeypatch):
    folder, address = site
    hostile = {"../../evil.csv": b"e", "/abs.csv": b"a", "kinetics400/run.sh": b"x"}
    write_tar(folder / "k.tar.gz", {"kinetics400/train.csv": b"t", **hostile})
    with zipfile.ZipFile(folder / "c.zip", "w") as archive:
        archive.writestr("Charades/README.txt", "r")
        archive.writestr("Charades/a.exe", "x")
    (folder / "val.csv").write_bytes(b"v")
    offer(monkeypatch, address, "k.tar.gz", "c.zip", "frame_lists/val.csv")
    target = tmp_path / "data" / "annotations"
    written = fetch("kinetics400", target)
    names = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert names == {"train.csv", "evil.csv", "abs.csv", "README.txt", "frame_lists/val.csv"}
    assert {path.relative_to(target).as_posix() for path in written} == names
    assert (target / "train.csv").read_bytes() == b"t"
    assert not list(tmp_path.glob("*.csv"))


def test_cached_archives_are_not_fetched_again(site, tmp_path, monkeypatch):
    folder, address = site
    (folder / "val.csv").write_bytes(b"v")
    offer(monkeypatch, address, "val.csv")
    fetch("kinetics400", tmp_path / "one")
    (folder / "val.csv").unlink()
    fetch("kinetics400", tmp_path / "two")
    assert (tmp_path / "two" / "val.csv").read_bytes() == b"v"


def test_an_absent_address_says_how_to_go_on(site, tmp_path, monkeypatch):
    _, address = site
    offer(monkeypatch, address, "absent.csv")
    with pytest.raises(DownloadError, match=r"cannot download http.*absent\.csv: .*by hand"):
        fetch("kinetics400", tmp_path / "data")


def test_a_terminal_sees_how_far_the_download_is(site, tmp_path, monkeypatch):
    folder, address = site
    (folder / "val.csv").write_bytes(b"v" * 300_000)
    offer(monkeypatch, address, "val.csv")
    screen = io.StringIO()
    console = functools.partial(Console, file=screen, force_terminal=True, width=100)
    monkeypatch.setattr("co3d.progress.Console", lambda **_: console())
    fetch("kinetics400", tmp_path / "data")
    assert "val.csv" in screen.getvalue()
    assert "300.0/300.0 kB" in screen.getvalue()


@pytest.mark.parametrize("name", ["broken.tar.gz", "broken.zip"])
def test_broken_archives(site, tmp_path, monkeypatch, name):
    folder, address = site
    (folder / name).write_bytes(b"no archive")
    offer(monkeypatch, address, name)
    with pytest.raises(DataError, match="cannot unpack"):
        fetch("kinetics400", tmp_path / "data")


def test_the_command_prints_the_manual_steps_even_offline(
    co3d_command, site, tmp_path, monkeypatch
):
    _, address = site
    offer(monkeypatch, address, "absent.csv")
    outcome = co3d_command("data", "annotations", "kinetics400", "--output", tmp_path / "data")
    assert outcome[0] == 22
    assert "by hand" in outcome[1]
    assert co3d_command("data", "annotations", "kinetics400")[0] == 2
    monkeypatch.setenv("DATASETS_PATH", str(tmp_path))
    assert co3d_command("data", "annotations", "ucf")[0] == 2


def test_every_set_names_https_addresses_and_what_to_do():
    assert set(ANNOTATIONS) == {"kinetics400", "kinetics600", "kinetics700", "charades"}
    for published in ANNOTATIONS.values():
        assert all(url.startswith("https://") for url in published.files.values())
        assert "https://" in published.videos


@pytest.fixture
def co3d_command(capsys, monkeypatch):
    import sys

    from co3d.cli.main import run

    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def call(*arguments):
        with pytest.raises(SystemExit) as info:
            run([str(argument) for argument in arguments])
        return info.value.code, capsys.readouterr().out

    return call
