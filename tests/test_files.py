import errno
import os
from pathlib import Path

import pytest

from co3d.errors import OutputError
from co3d.files import make_folder, output_file, output_folder


def test_the_file_appears_when_the_block_ends_well(tmp_path):
    path = tmp_path / "result.json"
    with output_file(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.parent == path.parent
        assert temporary.suffix == ".json"
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_block_changes_nothing(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("earlier")
    with pytest.raises(ZeroDivisionError):
        write_half(path)
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def write_half(path):
    with output_file(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path):
    path = tmp_path / "result.json"
    for mode in (0o600, 0o640, 0o644):
        path.write_text("earlier")
        path.chmod(mode)
        with output_file(path) as temporary:
            temporary.write_text("later")
        assert path.read_text() == "later"
        assert path.stat().st_mode & 0o777 == mode


def test_the_target_of_a_link_is_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    link, target = tmp_path / "link.json", tmp_path / "real" / "result.json"
    link.symlink_to(target)
    for text in ("first", "second"):  # it need not be there
        with output_file(link) as temporary:
            temporary.write_text(text)
        assert link.is_symlink()
        assert target.read_text() == text
    assert len(list((tmp_path / "real").iterdir())) == 1


def test_the_replacement_of_a_private_file_is_never_readable_by_others(tmp_path):
    path = tmp_path / "result.json"
    path.touch(0o400)
    with output_file(path) as temporary:
        assert temporary.stat().st_mode & 0o777 == 0o600
        temporary.write_text("later")
    assert path.stat().st_mode & 0o777 == 0o400


def test_links_that_lead_nowhere_are_refused(tmp_path):
    loop, beyond = tmp_path / "loop.json", tmp_path / "beyond.json"
    loop.symlink_to(loop)
    beyond.symlink_to(tmp_path / "absent" / "a.json")
    for path in (loop, beyond):
        with pytest.raises(OutputError, match=r"symbolic links|No such file"), output_file(path):
            pytest.fail("the block ran")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_and_devices_are_not_replaced(tmp_path):
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link, tmp_path):
        with pytest.raises(OutputError, match=r"it is a (folder|pipe)"), output_file(path):
            pytest.fail("the block ran")
    assert pipe.is_fifo()
    assert sorted(tmp_path.iterdir()) == [link, pipe]


def test_a_missing_folder_is_found_at_the_start(tmp_path):
    with (
        pytest.raises(OutputError, match="No such file or directory"),
        output_file(tmp_path / "absent" / "result.json"),
    ):
        pytest.fail("the block ran")


def test_a_full_disk_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="No space left"), output_file(tmp_path / "a.json"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_way_is_an_output_error(tmp_path):
    path = tmp_path / "result.json"
    path.mkdir()
    with pytest.raises(OutputError), output_file(path) as temporary:
        temporary.write_text("whole")
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_when_the_block_ends_well(tmp_path):
    path = tmp_path / "frames"
    with output_folder(path) as temporary:
        (temporary / "1.jpg").write_bytes(b"whole")
        assert not path.exists()
    assert [item.name for item in path.iterdir()] == ["1.jpg"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_block_leaves_no_folder(tmp_path):
    with pytest.raises(OutputError, match="No space left"), output_folder(tmp_path / "frames"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("address", ["rtsp://me:secret@host/a", "file:///tmp/a.json", "s3://b/a"])
def test_nothing_is_written_under_the_name_of_an_address(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path(address)
    with pytest.raises(OutputError, match="it is an address"):
        make_folder(path)
    for output in (output_file, output_folder):
        with pytest.raises(OutputError, match="it is an address"), output(path):
            pytest.fail("the block ran")
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_of_a_folder_is_an_output_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot make the folder"):
        make_folder(tmp_path / "file" / "folder")
