"""Commands on a disk that fills up: a small file system of its own, in a namespace of its own."""

import subprocess
import sys

import pytest

from support.noise_videos import write_noise

# Runs each command again and again on a disk that grows.
SCRIPT = """
import subprocess, sys
from co3d.cli.main import run

disk, *arguments = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", disk], check=True)
for size in ("8k", "40k", "4m"):
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)
    try:
        run([*arguments, "--output", f"{disk}/output"])
    except SystemExit as end:
        print("ended", size, end.code, file=sys.stderr, flush=True)
"""
NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
COMMANDS = {
    "eval": ("--mode", "stream", "--backend", "torch", "--frame-scores"),
    "features": ("--mode", "stream", "--backend", "torch", "--layer", "blocks.1"),
}


def may_mount(folder):
    command = [*NAMESPACE, "mount", "-t", "tmpfs", "-o", "size=4k", "none", folder]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_a_typed_error_and_the_same_command_goes_on(tmp_path, command):
    disk, data = tmp_path / "disk", tmp_path / "data"
    disk.mkdir()
    if not may_mount(disk):
        pytest.skip("a namespace with a file system of its own needs Linux that lets users make it")
    for number in range(4):
        write_noise(data / ("static", "pan left")[number % 2] / f"{number}.mp4", number, frames=24)
    arguments = (command, "--data", data, *COMMANDS[command])
    done = subprocess.run(
        [*NAMESPACE, sys.executable, "-c", SCRIPT, disk, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    assert [line for line in said if line.startswith("ended")] == [
        *("ended 8k 40", "ended 40k 40", "ended 4m 0")
    ]
    errors = [line for line in said if line.startswith("error: ")]
    assert len(errors) == 2
    assert all("No space left on device" in line for line in errors)
    assert not any("Traceback" in line for line in said)
