"""Caches: what is read is what was written, by nobody else."""

import os
import time
from contextlib import suppress
from pathlib import Path

import pytest
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from co3d import partial_files
from co3d.backends import inductor
from co3d.errors import OutputError
from co3d.kept_files import KeptFiles
from co3d.partial_files import name_partial


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> KeptFiles:
    monkeypatch.setenv("CO3D_CACHE", str(tmp_path))
    return KeptFiles("things", ".bin", most_files=3)


def only_file(kept: KeptFiles) -> Path:
    (path,) = kept.folder.iterdir()
    return path


def test_what_is_read_is_what_was_written(kept: KeptFiles) -> None:
    assert kept.read("key") is None
    kept.write("key", b"content")
    assert kept.read("key") == b"content"
    assert kept.read("ke") is None
    assert kept.read("other") is None
    assert kept.folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("content", [b"", b"conten", b"cOntent", b"content "])
def test_a_damaged_file_is_removed_with_a_warning(
    content: bytes, kept: KeptFiles, caplog: pytest.LogCaptureFixture
) -> None:
    kept.write("key", b"content")
    only_file(kept).write_bytes(content)
    assert kept.read("key") is None
    assert "its content is not what was written" in caplog.text
    assert not list(kept.folder.iterdir())


def test_a_file_of_another_key_is_not_read(kept: KeptFiles) -> None:
    kept.write("key", b"content")
    path = only_file(kept)
    path.rename(path.with_name(path.name.replace("key", "other")))
    assert kept.read("other") is None


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_folder_that_others_may_write_to_is_not_used(
    mode: int, kept: KeptFiles, caplog: pytest.LogCaptureFixture
) -> None:
    kept.write("key", b"content")
    kept.folder.chmod(mode)
    assert kept.read("key") is None
    assert "forbid that with chmod go-w" in caplog.text
    with pytest.raises(OutputError, match="not the user's own folder"), kept.make("key"):
        pass
    kept.write("another", b"costs nothing")
    kept.folder.chmod(0o755)
    assert kept.read("key") == b"content"


def test_a_folder_of_another_user_is_not_used(
    kept: KeptFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.write("key", b"content")
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert kept.read("key") is None


def test_a_failed_write_leaves_no_file(kept: KeptFiles) -> None:
    with suppress(ZeroDivisionError), kept.make("key") as temporary:
        temporary.write_bytes(b"con" * (1 // 0))
    assert not list(kept.folder.iterdir())


def test_the_least_recently_used_file_is_removed(kept: KeptFiles) -> None:
    for number in range(3):
        kept.write(f"key{number}", bytes([number]))
        os.utime(kept.find(f"key{number}") or "", (number, number))
    assert kept.read("key0") == b"\0"  # used just now
    kept.write("key3", b"3")
    assert kept.read("key1") is None
    assert kept.read("key0") == b"\0"


def test_old_partial_files_of_killed_processes_are_removed(kept: KeptFiles) -> None:
    kept.write("key", b"content")
    old, new = (kept.folder / f".key.{name}.partial.bin" for name in ("old", "new"))
    for path in (old, new):
        path.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    kept.write("other", b"content")
    assert not old.exists()
    assert new.exists()


def test_partial_files_of_a_killed_process_are_removed_by_the_next(kept: KeptFiles) -> None:
    kept.write("key", b"content")
    left = name_partial(kept.folder / "key", ".partial.bin")
    left.touch()
    long_ago = time.time() - 60
    os.utime(left, (long_ago, long_ago))
    partial_files._remove_abandoned.cache_clear()  # as in another process
    with kept.make("other") as written:
        assert not left.exists()
        os.utime(written, (long_ago, long_ago))
        partial_files._remove_abandoned.cache_clear()
        name_partial(kept.folder / "key", ".partial.bin")
        assert written.exists()


def test_a_cache_that_is_no_folder_breaks_nothing_else(
    kept: KeptFiles, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CO3D_CACHE", str(tmp_path / "file"))
    kept.write("key", b"content")
    assert kept.read("key") is None


@pytest.mark.parametrize("is_torch_imported", [True, False])
def test_code_that_torch_compiles_lies_in_the_same_cache(
    is_torch_imported: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        monkeypatch.setenv("CO3D_CACHE", str(folder))
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", default_cache_dir())
        if not is_torch_imported:  # it names its own choice there
            monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
        if folder.name == "b":
            (folder / "inductor").mkdir(parents=True)
            (folder / "inductor").chmod(0o777)
        inductor._choose_cache()
        chosen = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
        assert (chosen == folder / "inductor") == (folder.name == "a")
        assert chosen.stat().st_mode & 0o077 == 0
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "mine"))
    inductor._choose_cache()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "mine")


def test_compiled_code_that_cannot_be_loaded_is_made_again_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CO3D_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", default_cache_dir())
    inductor._choose_cache()
    folder = tmp_path / "inductor"
    (folder / "ab").mkdir()
    (folder / "ab" / "c.so").touch()
    assert inductor._forget_compiled("Failed to import ab.py")
    assert "may be damaged (Failed to import ab.py)" in caplog.text
    assert not list(folder.iterdir())
    assert not inductor._forget_compiled("no compiler")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "mine"))
    assert not inductor._forget_compiled("no compiler")
