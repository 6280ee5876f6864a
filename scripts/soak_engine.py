"""Random operations on an engine: every output must be that of a lone stream.

python scripts/soak_engine.py --operations 100000
"""

import argparse
import random
import signal
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

import co3d
from co3d.engine import Engine, Prediction, Results, Track, TrackEnded

TRACKS = 64
PICTURES = [
    np.random.default_rng(seed).integers(0, 256, (90, 120, 3), np.uint8) for seed in range(7)
]
LONGEST_VIDEO = 40
KINDS = {"push": 100, "join": 3, "reset": 3, "copy": 1, "finish": 2, "close": 1, "fail": 0.2}
Videos = list[list[int]]


@dataclass
class Shown:
    """A track, and the pictures that it was shown, video by video.

    Attributes:
        described_before: frames of the first video that another track has described.
    """

    track: Track
    videos: Videos = field(default_factory=lambda: [[]])
    described_before: int = 0
    is_whole: bool = True


class Collector:
    """Takes the predictions of all tracks in a thread."""

    def __init__(self, results: Results) -> None:
        self.made: dict[str, list[np.ndarray]] = defaultdict(list)
        self._ended: dict[str, threading.Event] = {}
        threading.Thread(target=self._take, args=(results,), daemon=True).start()

    def _take(self, results: Results) -> None:
        for item in results:
            if isinstance(item, Prediction):
                self.made[item.track].append(item.probabilities)
            elif isinstance(item, TrackEnded):
                self._find(item.track).set()

    def take_all(self, name: str) -> list[np.ndarray]:
        """What a track has made, once it has ended; nothing of it is kept."""
        self._find(name).wait()
        del self._ended[name]
        return self.made.pop(name, [])

    def _find(self, name: str) -> threading.Event:
        return self._ended.setdefault(name, threading.Event())  # which is atomic


def main() -> None:
    """Run, and print counts, memory and threads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    random.seed(arguments.seed)
    torch.set_num_threads(2)
    model = co3d.create_model("camera_motion")
    program = co3d.convert(model, model.card.clip_shape, edges="both")
    compiled = co3d.compile(program, backend="native")
    soak = Soak(Engine(compiled, model.card, workers=2, load_limit=None))
    began, memory, done = time.monotonic(), [], 0
    while done < arguments.operations and not stop.is_set():
        soak.operate()
        done += 1
        if done % 1000 == 0:
            memory.append(read_resident_mb())
            print(
                f"{done} operations, {soak.compared} results equal, {memory[-1]:.0f} MB, "
                f"{threading.active_count()} threads, {time.monotonic() - began:.0f} s",
                flush=True,
            )
    soak.finish_all()
    print(
        f"{done} operations in {time.monotonic() - began:.0f} s: "
        f"{dict(soak.counts)}; {soak.compared} results, each equal to its lone stream's; "
        f"memory {memory[0]:.0f} -> {read_resident_mb():.0f} MB, "
        f"{threading.active_count()} threads",
        flush=True,
    )


class Soak:
    """Random operations, and what they should give."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.counts: Counter[str] = Counter()
        self.compared = 0
        self._results = Results(100_000)
        self._results.hold()
        self._collector = Collector(self._results)
        self._running: list[Shown] = []
        self._names = (f"track {number}" for number in count())
        self._frames = [engine.card.preprocess(picture) for picture in PICTURES]

    def operate(self) -> None:
        """One random operation."""
        kind = random.choices(list(KINDS), list(KINDS.values()))[0]
        if kind == "join" or not self._running:
            if len(self._running) == TRACKS:
                return
            kind = "join"
            self._running.append(Shown(self._join(None)))
        else:
            getattr(self, f"_{kind}")(random.choice(self._running))
        self.counts[kind] += 1

    def finish_all(self) -> None:
        """End all tracks and check them; then the engine."""
        for shown in list(self._running):
            self._finish(shown)
        self._results.release()
        self.engine.close()

    def _join(self, snapshot: co3d.Snapshot | None) -> Track:
        return self.engine.join(
            next(self._names),
            policy="every",
            snapshot=snapshot,
            results=self._results,
            keeps_pictures=False,
        )

    def _push(self, shown: Shown) -> None:
        video = shown.videos[-1]
        if len(video) == LONGEST_VIDEO:
            self._reset(shown)
            return
        video.append(random.randrange(len(PICTURES)))
        shown.track.push(PICTURES[video[-1]], len(video) / 8)

    def _reset(self, shown: Shown) -> None:
        if shown.videos[-1]:
            shown.videos.append([])
            shown.track.reset()

    def _copy(self, shown: Shown) -> None:
        if len(shown.videos) > 1 or not shown.is_whole or len(self._running) == TRACKS:
            return
        snapshot = shown.track.snapshot()
        seen = shown.videos[0][: snapshot.age]
        self._running.append(Shown(self._join(snapshot), [seen], len(seen), is_whole=False))

    def _finish(self, shown: Shown) -> None:
        shown.track.finish()
        self._running.remove(shown)
        name = shown.track.name
        made, expected = self._collector.take_all(name), self._label_alone(shown)
        assert len(made) == len(expected), (name, len(made), len(expected))
        for one, wanted in zip(made, expected, strict=True):
            assert np.array_equal(one, wanted), name
        self.compared += len(made)

    def _close(self, shown: Shown) -> None:
        shown.track.close()
        self._running.remove(shown)
        self._collector.take_all(shown.track.name)

    def _fail(self, shown: Shown) -> None:
        """Break the slot of a track, as a bug of a backend would."""
        snapshot = shown.track.snapshot()  # which waits for the step under way
        del snapshot
        shown.track._acquire_slot()
        state = shown.track.slot.state
        shown.track.slot.state = SimpleNamespace(close=state.close)  # type: ignore[assignment]
        shown.track._release_slot()
        self._running.remove(shown)
        shown.track.finish()
        self._collector.take_all(shown.track.name)

    def _label_alone(self, shown: Shown) -> list[np.ndarray]:
        made: list[np.ndarray] = []
        compiled, delay = self.engine.compiled, self.engine.compiled.program.delay
        for number, video in enumerate(shown.videos):
            if not video:
                continue
            outputs = []
            with compiled.open() as slot:
                for picture in video:
                    outputs.append(compiled.step([slot], self._frames[picture]).output[0])
                for _ in range(slot.finish()):
                    outputs.append(
                        compiled.step([slot], torch.zeros_like(self._frames[0])).output[0]
                    )
            before = shown.described_before if number == 0 else 0
            described = outputs[delay:][before:]
            made += [self.engine.card.probabilities(logits).numpy() for logits in described]
        return made


def read_resident_mb() -> float:
    """Memory of the process that lies in the machine's (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1e3


if __name__ == "__main__":
    main()
