"""Mutate media for a while: `PYTHONPATH=tests python -m hostile.media_fuzz MINUTES`.

What raises an untyped error is kept, and its seed said; a crash or hang leaves its bytes in `last`.
"""

import sys
import time
import traceback
from itertools import count
from pathlib import Path

import numpy as np

from hostile.media_targets import CODECS, PICTURES, TARGETS, choose_targets, make_sample, mutate

SLOW_SECONDS = 20.0


def fuzz(minutes: float, folder: Path) -> int:
    """Run until the time is over; how many failures were found."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = {suffix: make_sample(suffix) for suffix in (*CODECS, *PICTURES)}
    end, failures, runs = time.monotonic() + 60 * minutes, 0, 0
    for seed in count():
        if time.monotonic() > end:
            break
        for suffix, sample in samples.items():
            data = mutate(sample, np.random.default_rng(seed))
            (folder / "last").write_bytes(data)
            for name in choose_targets(suffix):
                started = time.monotonic()
                try:
                    TARGETS[name](data, folder)
                    failed = time.monotonic() - started > SLOW_SECONDS
                except Exception:  # noqa: BLE001 (whatever it is, it is a failure)
                    traceback.print_exc()
                    failed = True
                runs += 1
                if failed:
                    failures += 1
                    print(f"{name} of {suffix}, seed {seed}", flush=True)
                    (folder / f"{suffix}-{seed}").write_bytes(data)
    print(f"{runs} files read, {failures} failures")
    return failures


if __name__ == "__main__":
    sys.exit(bool(fuzz(float(sys.argv[1]), Path("fuzz/media"))))
