from pathlib import Path

import pytest

from co3d.environment import find_dataset, load_environment, logs_path
from co3d.errors import DataError


@pytest.fixture(autouse=True)
def _clean(monkeypatch, tmp_path):
    for name in ("DATASETS_PATH", "LOGS_PATH", "CO3D_CACHE"):
        monkeypatch.setenv(name, "")  # so that what `.env` sets is taken back
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_a_dot_env_file_fills_in_what_the_environment_lacks(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("LOGS_PATH=logs of mine\nCO3D_CACHE=/a\nPATH=/evil\n")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    monkeypatch.setenv("CO3D_CACHE", "/b")
    monkeypatch.setenv("PATH", "/bin")
    load_environment()
    import os

    assert os.environ["CO3D_CACHE"] == "/b"
    assert os.environ["PATH"] == "/bin"
    assert logs_path() == Path("logs of mine")


def test_without_anything_logs_go_to_runs():
    load_environment()
    assert logs_path() == Path("runs")


def test_data_sets_lie_here_or_on_the_shelf(tmp_path, monkeypatch):
    (tmp_path / "shelf" / "kinetics").mkdir(parents=True)
    with pytest.raises(DataError, match="DATASETS_PATH is not set"):
        find_dataset(Path("kinetics"))
    monkeypatch.setenv("DATASETS_PATH", str(tmp_path / "shelf"))
    assert find_dataset(Path("kinetics")) == tmp_path / "shelf" / "kinetics"
    (tmp_path / "kinetics").mkdir()
    assert find_dataset(Path("kinetics")) == Path("kinetics")
    with pytest.raises(DataError, match="under DATASETS_PATH="):
        find_dataset(Path("charades"))
