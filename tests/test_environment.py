import os
import subprocess
import sys
from pathlib import Path

import pytest

from co3d.environment import find_dataset, ignore_settings_here, load_environment, logs_path
from co3d.errors import DataError, OptionError


@pytest.fixture(autouse=True)
def _clean(monkeypatch, tmp_path):
    for name in ("DATASETS_PATH", "LOGS_PATH", "CO3D_CACHE"):
        monkeypatch.setenv(name, "")  # so that what `.env` sets is taken back
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_a_dot_env_file_fills_in_what_the_environment_lacks(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("LOGS_PATH=logs of mine\nDATASETS_PATH=/a\nPATH=/evil\n")
    monkeypatch.setenv("DATASETS_PATH", "/b")
    monkeypatch.setenv("PATH", "/bin")
    load_environment()
    assert os.environ["DATASETS_PATH"] == "/b"
    assert os.environ["PATH"] == "/bin"
    assert logs_path() == Path("logs of mine")


def test_a_dot_env_file_does_not_say_where_code_is_loaded_from(tmp_path):
    (tmp_path / ".env").write_text("CO3D_CACHE=cache\nexport CO3D_CACHE=cache\n")
    load_environment()
    assert "CO3D_CACHE" not in os.environ


def test_a_dot_env_file_of_a_folder_above_is_not_read(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("LOGS_PATH=/a\n")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    load_environment()
    assert logs_path() == Path("runs")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"LOGS_PATH=\xff\xfe", "it is not UTF-8"),
        (b"LOGS_PATH=a\0b", "it holds a zero byte"),
        (b"A=" + b"x" * 70_000, "it has more than 65536 bytes"),
    ],
)
def test_a_malformed_dot_env_file_raises_a_co3d_error(tmp_path, content, reason):
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(OptionError, match=reason):
        load_environment()


def test_a_pipe_named_dot_env_does_not_block(tmp_path):
    os.mkfifo(tmp_path / ".env")
    with pytest.raises(OptionError, match="it is no regular file"):
        load_environment()


def test_a_folder_named_dot_env_raises_a_co3d_error(tmp_path):
    (tmp_path / ".env").mkdir()
    with pytest.raises(OptionError, match="it is no regular file"):
        load_environment()


def test_without_anything_logs_go_to_runs():
    load_environment()
    assert logs_path() == Path("runs")


def test_data_sets_are_found_here_or_in_datasets_path(tmp_path, monkeypatch):
    (tmp_path / "shelf" / "kinetics").mkdir(parents=True)
    with pytest.raises(DataError, match="DATASETS_PATH is not set"):
        find_dataset(Path("kinetics"))
    monkeypatch.setenv("DATASETS_PATH", str(tmp_path / "shelf"))
    assert find_dataset(Path("kinetics")) == tmp_path / "shelf" / "kinetics"
    (tmp_path / "kinetics").mkdir()
    assert find_dataset(Path("kinetics")) == Path("kinetics")
    with pytest.raises(DataError, match="under DATASETS_PATH="):
        find_dataset(Path("charades"))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
def test_settings_of_matplotlib_in_this_folder_are_not_read(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "matplotlibrc")  # who reads it waits for ever
    code = "from co3d.environment import ignore_settings_here as f; f(); import matplotlib, os"
    code += f"; assert os.getcwd() == {str(tmp_path.resolve())!r}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_folder_without_settings_imports_nothing(monkeypatch):
    monkeypatch.setattr("co3d.environment.import_module", None)
    ignore_settings_here()
