"""A wheel of `make wheel` streams with our kernels where there is no compiler."""

import json
import os
import platform
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import co3d

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="kernels are compiled for Linux on x86-64",
)
def test_a_wheel_streams_without_a_compiler(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "build_wheel.py"
    subprocess.run([sys.executable, script, "--output", tmp_path / "dist"], check=True)
    (pure,) = (tmp_path / "dist").glob("*-py3-none-any.whl")
    (binary,) = (tmp_path / "dist").glob("*-py3-none-manylinux_2_*_x86_64.whl")
    with zipfile.ZipFile(pure) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".so")]
    with zipfile.ZipFile(binary) as archive:
        libraries = {name for name in archive.namelist() if name.endswith(".so")}
        manifest = archive.read("co3d/backends/native/prebuilt/manifest.json")
    assert {Path(name).name for name in libraries} == set(json.loads(manifest)["libraries"])

    command = _install(binary, tmp_path / "environment")
    (tmp_path / "empty").mkdir()
    environment = {"PATH": str(tmp_path / "empty"), "CO3D_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [command, "stream", co3d.sample_video(), "--json", "--top", "1"],
        env={**environment, "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "backend: native, float32 on cpu" in done.stderr
    assert "compiling" not in done.stderr
    assert not list((tmp_path / "cache").glob("native/*"))
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    theirs = [line["top"][0]["label"] for line in lines if line["valid"]]
    assert theirs == [moment.label for moment in co3d.label_video(co3d.sample_video())]


def _install(wheel: Path, folder: Path) -> Path:
    """Its `co3d` in a new environment, whose packages are those of this one but for co3d."""
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python]
    subprocess.run([*pip, "install", "-q", "--no-deps", "--no-index", wheel], check=True)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "co3d"
