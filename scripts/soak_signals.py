"""Commands that are told to stop at any moment end with 130, and say nothing of C++.

python scripts/soak_signals.py --times 20
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from co3d.video.writer import VideoWriter

CODE = "from co3d.cli.entry import start; start()"
FRAMES, RATE_HZ, SIDE_PX = 240, 24, 64


def main() -> None:
    """Start each command many times, stop it after a longer and longer while, and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--least-seconds", type=float, default=0.2)
    parser.add_argument("--most-seconds", type=float, default=8.0)
    parser.add_argument("--command", help="one of them; all by default")
    parser.add_argument("--signal", choices=("SIGTERM", "SIGINT"), default="SIGTERM")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = make_videos(Path(folder) / "data")
        bad = 0
        for name, arguments in list_commands(data).items():
            if given.command not in (None, name):
                continue
            codes: Counter[int] = Counter()
            for turn in range(given.times):
                span = given.most_seconds - given.least_seconds
                delay = given.least_seconds + span * turn / max(given.times - 1, 1)
                output = Path(folder) / f"{name}-{turn}"
                code, errors = stop(
                    [*arguments, "--output", output], getattr(signal, given.signal), delay
                )
                codes[code] += 1
                if code not in (0, 130) or "terminate called" in errors or "Traceback" in errors:
                    bad += 1
                    print(f"{name} after {delay:.2f} s: {code}\n{errors}", flush=True)
            print(f"{name}: {dict(codes)}", flush=True)
    sys.exit(bad > 0)


def make_videos(folder: Path) -> Path:
    """Two classes of noise, ten videos each of ten seconds."""
    generator = np.random.default_rng(0)
    for name in ("pan left", "zoom in"):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            with VideoWriter(folder / name / f"{number}.mp4", RATE_HZ) as writer:
                for index in range(FRAMES):
                    shape = (SIDE_PX // 8, SIDE_PX // 8, 3)
                    blocks = generator.integers(0, 256, shape, np.uint8)
                    picture = blocks.repeat(8, 0).repeat(8, 1)
                    writer.write(picture, index / RATE_HZ)
    return folder


def list_commands(data: Path) -> dict[str, list[object]]:
    """Commands that decode, step and train in threads and processes."""
    return {
        "eval": ["eval", "--data", data, "--mode", "stream"],
        "eval-clip": ["eval", "--data", data, "--mode", "clip", "--views", "4x1"],
        "features": ["features", "--data", data, "--layer", "blocks.1", "--mode", "stream"],
        "finetune": ["finetune", data, "--model", "camera_motion", "epochs=100"],
    }


def stop(arguments: list[object], number: signal.Signals, delay: float) -> tuple[int, str]:
    """Run a command for so many seconds, and give its code and what it says."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
    )
    time.sleep(delay)
    process.send_signal(number)
    try:
        _, errors = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        _, errors = process.communicate()
        return -9, f"still there after two minutes\n{errors}"
    return process.returncode, errors


if __name__ == "__main__":
    main()
