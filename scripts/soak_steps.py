"""A million steps of tracks that join and leave: by how much memory grows.

python scripts/soak_steps.py --steps 1000000

The network is tiny, so that what the engine does around it is most of the work. Prints a line of
JSON every ten seconds and one at the end. Ctrl-C and SIGTERM end it early, with a result.
"""

import argparse
import json
import math
import random
import signal
import threading
import time
from array import array
from collections import Counter
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from torch import nn

import co3d
from co3d.engine import Engine, Prediction, Results, Track, TrackEnded
from soak_engine import read_resident_mb

TRACKS = 32
LIVE_SHARE = 0.25
FINISHED_SHARE = 0.7
"""The share of leaving tracks that finish; the others close while frames wait."""

LONGEST_VIDEO = 400
SIDE_PX = 16
CAPACITY = 1024
WARM_UP_SHARE = 0.2
BLOCKS = 20
"""Memory is averaged over so many spans before the line is fitted: neighbouring samples are alike,
and would make its error look smaller than it is."""

REPORT_SECONDS = 10.0
SAMPLE_SECONDS = 0.25


@dataclass
class Visit:
    """A track, how many pictures it was shown, and how many it will be."""

    track: Track
    wanted: int
    shown: int = 0


class Departures(threading.Thread):
    """Takes the predictions of all tracks, and checks those of each that has left.

    Attributes:
        leaving: tracks that leave, with the predictions that they owe; None where any number will
            do.
        left, steps: how many tracks have left, and their steps. wrong: what some of them made.
    """

    def __init__(self, results: Results) -> None:
        super().__init__(daemon=True)
        self.leaving: dict[str, tuple[Track, int | None]] = {}
        self.left = self.steps = 0
        self.wrong: list[str] = []
        self._results = results

    def run(self) -> None:
        """Take predictions until no track is left."""
        made: Counter[str] = Counter()
        for item in self._results:
            if isinstance(item, Prediction):
                made[item.track] += 1
            elif isinstance(item, TrackEnded):
                track, owed = self.leaving.pop(item.track)
                self.left += 1
                self.steps += track.metrics().steps
                found = made.pop(item.track, 0)
                if item.error is not None or (owed is not None and found != owed):
                    self.wrong.append(f"{item.track} made {found} of {owed}, {item.error}")


def open_tiny_engine() -> Engine:
    """An engine with one small convolution."""
    network = nn.Sequential(
        nn.Conv3d(3, 4, 3, padding=1, stride=(1, 4, 4)),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    ).eval()
    card = co3d.ModelCard(
        "tiny", 4, 8.0, SIDE_PX, SIDE_PX, (0, 0, 0), (1, 1, 1), labels=("still", "moving")
    )
    program = co3d.convert(network, card.clip_shape, edges="both")
    return Engine(co3d.compile(program, backend="native"), card, workers=2, load_limit=None)


def fit_growth(samples: "array[float]") -> tuple[float, float]:
    """Slope of memory over time after warming up, and its standard error, in MB an hour."""
    all_samples = np.array(samples).reshape(-1, 2)
    settled = all_samples[int(WARM_UP_SHARE * len(all_samples)) :]
    if len(settled) < 3 * BLOCKS:
        return math.nan, math.nan
    blocks = np.array([block.mean(0) for block in np.array_split(settled, BLOCKS)])
    (slope, _), covariance = np.polyfit(blocks[:, 0] / 3600, blocks[:, 1], 1, cov=True)
    return float(slope), math.sqrt(covariance[0, 0])


class Soak:
    """Tracks that join, are shown pictures, and leave."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._results = engine, Results(CAPACITY)
        self._results.hold()
        self.departures = Departures(self._results)
        self.departures.start()
        self._pictures = np.random.default_rng(0).integers(
            0, 256, (8, SIDE_PX, SIDE_PX, 3), np.uint8
        )
        self._names = (f"track {number}" for number in count())
        self._visits = [self._join() for _ in range(TRACKS)]

    def show(self) -> None:
        """Show one track a picture; if it was its last one, another track takes its place."""
        place = random.randrange(TRACKS)
        visit = self._visits[place]
        visit.track.push(self._pictures[visit.shown % 8], visit.shown / 8)
        visit.shown += 1
        if visit.shown == visit.wanted:
            self._leave(visit)
            self._visits[place] = self._join()

    def end(self) -> None:
        """End all tracks and the engine."""
        for visit in self._visits:
            self._leave(visit)
        self._results.release()
        self.departures.join()
        self._engine.close()

    def _join(self) -> Visit:
        policy = "latest" if random.random() < LIVE_SHARE else "every"
        track = self._engine.join(
            next(self._names), policy=policy, results=self._results, keeps_pictures=False
        )
        return Visit(track, random.randint(1, LONGEST_VIDEO))

    def _leave(self, visit: Visit) -> None:
        track = visit.track
        is_finished = random.random() < FINISHED_SHARE
        owed = None if track.is_live or not is_finished else visit.shown
        self.departures.leaving[track.name] = track, owed
        if is_finished:
            track.finish()
        else:
            track.close()


def main() -> None:
    """Run, and print what memory did."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    torch.set_num_threads(2)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    soak = Soak(open_tiny_engine())
    began = time.monotonic()
    # Pairs of seconds and megabytes. A list of tuples would itself grow by 1.6 MB an hour.
    samples = array("d", (0.0, read_resident_mb()))
    sample_at, report_at = SAMPLE_SECONDS, REPORT_SECONDS
    while soak.departures.steps < arguments.steps and not stop.is_set():
        soak.show()
        seconds = time.monotonic() - began
        if seconds > sample_at:
            sample_at = seconds + SAMPLE_SECONDS
            samples.extend((seconds, read_resident_mb()))
        if seconds > report_at:
            report_at = seconds + REPORT_SECONDS
            print(json.dumps(describe(soak, samples)), flush=True)
    soak.end()
    print(json.dumps(describe(soak, samples)), flush=True)
    assert not soak.departures.wrong, soak.departures.wrong


def describe(soak: Soak, samples: "array[float]") -> dict[str, float]:
    """What was done so far, and what memory did."""
    slope, error = fit_growth(samples)
    return {
        "steps": soak.departures.steps,
        "tracks_left": soak.departures.left,
        "seconds": round(samples[-2], 1),
        "memory_mb": round(samples[-1], 2),
        "growth_mb_per_hour": round(slope, 2),
        "error_mb_per_hour": round(error, 2),
        "threads": threading.active_count(),
    }


if __name__ == "__main__":
    main()
