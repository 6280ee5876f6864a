"""Kill commands at random moments, run them again, and compare with a run that nobody killed.

    python scripts/kill_test.py --rounds 15 --commands stream,eval

Of each command: what stands under its final names after a kill is whole, or is not there; what it
started ends with it, whether the group or its first process is killed; the same command then ends
well, and gives what it gives unkilled. Leftovers under hidden names are counted.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from co3d.video import VideoWriter

SAMPLE = Path(__file__).parents[1] / "src/co3d/assets/sample.mp4"
MODEL = ["--model", "camera_motion"]
VIDEOS, FRAMES, SIDE, RATE_HZ = 6, 48, 96, 16
GONE_SECONDS = 10
CHANGING = re.compile(r"_ms$|_per_second|seconds$|^(run|files|resumed|peak|created|command|timing)")
RECIPE = """
name: tiny
epochs: 3
model: {weights: random}
data: {kind: camera_motion, frames_per_batch: 8, clip_lengths: [4], steps_per_epoch: 2,
  validation_clips: 2, crops_per_photograph: 1, textures_per_kind: 1, workers: 0}
compute: {accelerator: cpu}
logging: {tensorboard: false}
"""


@dataclass(frozen=True)
class Command:
    """A command under test.

    Attributes:
        words: of its command line; OUT stands for the folder of its results, SET for the data set.
        results: names in that folder that are compared; patterns of `Path.glob`.
        cold: whether it starts with an empty cache.
        resuming: words that make a second run go on, where it left a checkpoint; where it left
            none, its folder `run` goes, as the error asks for.
    """

    words: tuple[str, ...]
    results: tuple[str, ...]
    cold: bool = False
    resuming: tuple[str, ...] = ()


STREAM = ("stream", str(SAMPLE), "--output", "OUT/v.mp4", "--timeline", "OUT/t.png")
COMMANDS = {
    "stream": Command(STREAM, ("v.mp4", "t.png")),
    "eval": Command(
        ("eval", "--data", "SET", "--mode", "stream", *MODEL, "--output", "OUT"),
        ("summary.json", "predictions*", "steps*"),
    ),
    "features": Command(
        ("features", "--data", "SET", "--layer", "blocks.1", *MODEL, "--output", "OUT"),
        ("features.*",),
    ),
    "label": Command(("label", "SET", *MODEL, "--output", "OUT"), ("*.parquet",)),
    "prepare": Command(
        ("data", "prepare", "SET", "--output", "OUT", "--to", "video"),
        ("manifest.jsonl", "left_out.jsonl", "**/*.mp4"),
    ),
    "doctor": Command(("data", "doctor", "SET", "--output", "OUT"), ("report.json", "clean.jsonl")),
    "export": Command(
        ("export", "camera_motion", "--format", "onnx", "--output", "OUT/m.onnx"), ("m.onnx",)
    ),
    "export two files": Command(
        ("export", "camera_motion", "--format", "openvino", "--output", "OUT/m.xml"), ("m.*",)
    ),
    "train": Command(
        ("train", "RECIPE", "--output", "OUT/run"),
        ("run/results.json",),
        resuming=("--resume",),
    ),
    "first start": Command(STREAM, ("v.mp4", "t.png"), cold=True),
}


def make_set(root: Path) -> Path:
    """A data set of two classes of the bundled network."""
    random_numbers = np.random.default_rng(0)
    for number in range(VIDEOS):
        path = root / ("pan left", "pan right")[number % 2] / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        wide = random_numbers.integers(0, 255, (SIDE, SIDE * 4, 3), np.uint8)
        with VideoWriter(path, RATE_HZ) as writer:
            for frame in range(FRAMES):
                writer.write(wide[:, 2 * frame : 2 * frame + SIDE].copy(), frame / RATE_HZ)
    return root


class Bench:
    """Runs one command again and again in folders of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self._command, self._folder = COMMANDS[name], folder
        self._name = name
        self.failures: list[str] = []
        self.leftovers = 0
        started = time.monotonic()
        self._cache = Path(os.environ.get("CO3D_CACHE", folder / "cache"))
        reference = self._place("reference")
        self._start(reference).wait()
        self.seconds = time.monotonic() - started
        self._expected = self._read(reference)
        if not self._expected:
            raise SystemExit(f"{name} gave nothing without a kill: {self._log(reference)}")

    def kill_once(self, number: int) -> None:
        """One kill, at a random moment, and the same command again."""
        place = self._place(f"round-{number}")
        process = self._start(place)
        delay_seconds = random.uniform(0.1, 1.0) * self.seconds
        try:
            process.wait(delay_seconds)
        except subprocess.TimeoutExpired:
            # As a user does, or as the kernel does that is out of memory: one process alone.
            random.choice((os.killpg, os.kill))(process.pid, signal.SIGKILL)
            process.wait()
            if not _await_end(process.pid):
                self._fail(number, delay_seconds, "processes that it started went on")
        for name, value in self._read(place).items():
            if value != self._expected.get(name):
                self._fail(number, delay_seconds, f"{name} stood there, and was not whole")
        if self._start(place).wait():
            self._fail(number, delay_seconds, f"the second run failed: {self._log(place)}")
        elif (found := self._read(place)) != self._expected:
            names = sorted(found.keys() ^ self._expected.keys()) or [
                name for name in found if found[name] != self._expected[name]
            ]
            self._fail(number, delay_seconds, f"other results: {names}")
        left = [path for path in place.rglob(".*") if "part" in path.name]
        self.leftovers += len(left)
        shutil.rmtree(place, ignore_errors=True)

    def _fail(self, number: int, delay_seconds: float, what: str) -> None:
        said = f"{self._name}, round {number}, killed after {delay_seconds:.2f} s: {what}"
        print(said, flush=True)
        self.failures.append(said)

    def _place(self, name: str) -> Path:
        place = self._folder / self._name.replace(" ", "-") / name
        place.mkdir(parents=True)
        return place

    def _start(self, place: Path) -> "subprocess.Popen[bytes]":
        (place / "out").mkdir(exist_ok=True)
        names = {"OUT": str(place / "out"), "SET": str(self._folder / "set")}
        names["RECIPE"] = str(self._folder / "recipe.yaml")
        command = self._command
        run = place / "out" / "run"
        resumes = any(run.rglob("last.ckpt"))
        if command.resuming and not resumes:
            shutil.rmtree(run, ignore_errors=True)
        given = (*command.words, *(command.resuming if resumes else ()))
        words = [re.sub("OUT|SET|RECIPE", lambda match: names[match[0]], word) for word in given]
        cache = place / "cache" if command.cold else self._cache
        return subprocess.Popen(
            [sys.executable, "-m", "co3d", *words],
            stdout=subprocess.DEVNULL,
            stderr=(place / "stderr").open("wb"),
            env={**os.environ, "CO3D_CACHE": str(cache)},
            start_new_session=True,
        )

    def _read(self, place: Path) -> dict[str, Any]:
        out = place / "out"
        paths = {path for pattern in self._command.results for path in out.glob(pattern)}
        return {
            str(path.relative_to(out)): _content(path)
            for path in sorted(paths)
            if not path.name.startswith(".") and path.is_file()
        }

    def _log(self, place: Path) -> str:
        return (place / "stderr").read_text(errors="replace")[-500:]


def _await_end(group: int) -> bool:
    """Whether no process of a group is left, a few seconds after its first was killed."""
    for _ in range(10 * GONE_SECONDS):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    os.killpg(group, signal.SIGKILL)
    return False


def _content(path: Path) -> Any:
    """What is compared of a result: bytes, but for times and places in JSON."""
    readers: dict[str, Callable[[], Any]] = {
        ".json": lambda: _settle(json.loads(path.read_text())),
        ".jsonl": lambda: [_settle(json.loads(line)) for line in path.read_text().splitlines()],
    }
    return readers.get(path.suffix, path.read_bytes)()


def _settle(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _settle(v) for key, v in value.items() if not CHANGING.search(str(key))}
    return [_settle(item) for item in value] if isinstance(value, list) else value


def main() -> int:
    """Run the rounds; 1 if anything was lost, done otherwise or poisoned."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=13, help="kills of each command")
    parser.add_argument("--commands", default=",".join(COMMANDS), help="of these, by commas")
    parser.add_argument("--folder", type=Path, default=Path("kills"), help="to work in")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    folder = options.folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    make_set(folder / "set")
    (folder / "recipe.yaml").write_text(RECIPE)
    failed = 0
    for name in options.commands.split(","):
        bench = Bench(name, folder)
        for number in range(options.rounds):
            bench.kill_once(number)
        failed += len(bench.failures)
        print(
            f"{name}: {options.rounds} kills in {bench.seconds:.1f} s each, "
            f"{len(bench.failures)} failures, {bench.leftovers} leftovers under hidden names",
            flush=True,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
